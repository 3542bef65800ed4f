"""A data set in any format, with all its parts, as folders of TFRecords."""

import collections.abc
import os
import typing

from gfl_tf.data import formats
from gfl_tf.data.coco import CocoDataset, check_trainable, load_coco
from gfl_tf.data.formats.splits import Part, find_splits, with_given
from gfl_tf.data.tfrecords import index, writing

Progress = collections.abc.Callable[[int, int, str], None]  # (done, of how many, what)


class Made(typing.NamedTuple):
    """One part: its folder, what it holds, and which shards are new."""

    folder: str
    dataset: CocoDataset
    written: writing.Written


def make(
    output: str,
    path: str = "",
    given: collections.abc.Mapping[str, Part] | None = None,
    format: str = "auto",
    class_names: collections.abc.Sequence[str] = (),
    on_bad_image: str = "error",
    num_shards: int | None = None,
    progress: Progress | None = None,
) -> collections.abc.Iterator[Made]:
    """Writes `output`/train and `output`/val, one after the other; see `writing.write`.

    Args:
        output: folder.
        path: folder of a whole data set; "": none.
        given: parts by name, "train" and "val"; what is set in them wins over what `path` has.
        format, class_names, on_bad_image: see `gfl_tf.data.formats.read`. The classes of the validation data are those
            of the training data, as in a training.
        num_shards: of each part.

    Raises:
        FileNotFoundError, ValueError, OSError: as `formats.read`, `load_coco`, `check_trainable` of the training data,
            and `writing.write`.
    """
    parts = with_given(find_splits(path, format) if path else {}, given or {})
    names = tuple(class_names) or None
    for split, part in sorted(parts.items()):  # train before val
        for place in filter(None, part):
            if not os.path.exists(place):
                raise FileNotFoundError(f"there is no file or folder {place}")
        annotations, images = formats.read(part.annotations, part.images or None, format, split, names, on_bad_image)
        dataset = load_coco(
            annotations, images, names, on_bad_image=on_bad_image, source=part.annotations,
            progress=_named(progress, f"{split} images checked"),
        )  # fmt: skip
        if split == "train":
            check_trainable(dataset)  # which nobody could see any more
        names = names or dataset.class_names
        folder = os.path.join(output, split)
        yield Made(
            folder, dataset, writing.write(dataset, folder, num_shards, _named(progress, f"{split} images written"))
        )


def _named(progress, what):
    return progress and (lambda done, total: progress(done, total, what))


def verify(output: str, progress: Progress | None = None) -> list[tuple[str, list[str]]]:
    """[(folder, what is wrong with its shards)] of the parts in `output`; reads all of them.

    Raises:
        ValueError: there are none, or an index cannot be read.
    """
    parts = [part.annotations for part in find_splits(output, "tfrecord").values()]
    checked = []
    for folder in parts:
        _, shards, _ = index.read(folder)
        problems = []
        for done, shard in enumerate(shards):
            if progress:
                progress(done, len(shards), f"shards of {folder}")
            problems.append(index.check(folder, shard))
        checked.append((folder, list(filter(None, problems))))
    return checked
