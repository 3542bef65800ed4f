"""The splits of a data set, read as a training does it but for giving up at the first fault."""

import collections.abc
import contextlib
import os
import typing

from absl import logging

from gfl_tf.data import coco_entries, formats
from gfl_tf.data.coco import CocoDataset, load_coco
from gfl_tf.data.faults import faults_of
from gfl_tf.data.formats.splits import Part, find_splits, with_given
from gfl_tf.dataset_check.findings import Example, Finding, finding

Progress = collections.abc.Callable[[int, int, str], None]  # (done, of how many, what)


class Split(typing.NamedTuple):
    """One part of a data set.

    Attributes:
        name: "train" or "val".
        dataset: `CocoDataset` without its bad images, which are in its report.
        content: COCO's dict that it was made from.
        skipped: why images are not in there, a text each.
    """

    name: str
    dataset: CocoDataset
    content: dict
    skipped: list


def find_parts(
    path: str, given: collections.abc.Mapping[str, Part], format: str = "auto"
) -> tuple[dict[str, Part], list[Finding]]:
    """({split: where it lies}, what is wrong with the folder).

    Args:
        path: folder of a whole data set; "": none.
        given: parts that are named one by one; what is set in them wins over what the folder has.
        format: see `gfl_tf.data.formats`.
    """
    parts, findings = {}, []
    if path:
        with _held_back() as lines:
            try:
                parts = find_splits(path, format)
                findings = finding("reader", "", map(Example, lines))
            except (OSError, ValueError) as error:
                findings = _refused("", error, lines)
    try:
        return with_given(parts, given), findings
    except ValueError as error:
        return parts, [*findings, *_refused("", error, [])]


def load(
    parts: collections.abc.Mapping[str, Part],
    format: str = "auto",
    class_names: collections.abc.Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[list[Split], list[Finding]]:
    """The splits that can be read, and findings of what their readers refuse or warn of.

    The first split's classes are those of the others, too, as in a training.
    """
    splits, findings = [], []
    for name, part in parts.items():
        names = tuple(class_names) or (splits[0].dataset.class_names if splits else None)
        with _held_back() as lines:
            try:
                content, images_dir, skipped = _read(name, part, format, names)
                told = [Example(line) for line in lines if line.removesuffix("; skipped") not in skipped]
                dataset = _load(name, part, content, images_dir, names, progress)
            except (OSError, ValueError) as error:
                findings += _refused(name, error, lines)
                continue
        splits.append(Split(name, dataset, content, skipped))
        findings += finding("reader", name, told)
    return splits, findings


def _read(name, part, format, class_names):
    if not os.path.exists(part.annotations):
        raise FileNotFoundError(f"there is no annotation file or folder {part.annotations}")
    if part.images and not os.path.isdir(part.images):
        raise FileNotFoundError(f"there is no folder of images {part.images}")
    content, images_dir = formats.read(part.annotations, part.images or None, format, name, class_names, "skip")
    skipped = [each["problem"] for each in content.get("skipped", [])] if isinstance(content, dict) else []
    content, _ = coco_entries.read(content, part.annotations)
    return content, images_dir, skipped


def _load(name, part, content, images_dir, class_names, progress):
    draw = progress and (lambda done, total: progress(done, total, f"{name} images checked"))
    return load_coco(content, images_dir, class_names, on_bad_image="skip", source=part.annotations, progress=draw)


def _refused(split, error, lines):
    """A finding of all faults that an error names, with what was said before it."""
    faults = [" ".join(fault.split()) for fault in faults_of(error)]
    return finding("refused", split, map(Example, (*faults, *lines)))


@contextlib.contextmanager
def _held_back():
    """Keeps the warnings of the package from standard error; yields the list that they go to instead."""
    lines = []

    def hold(record):
        is_warning = record.levelno >= logging.converter.STANDARD_WARNING
        if is_warning:
            lines.append(record.getMessage())
        return not is_warning

    logger = logging.get_absl_logger()
    logger.addFilter(hold)
    try:
        yield lines
    finally:
        logger.removeFilter(hold)
