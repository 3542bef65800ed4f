"""Image files that cannot be used, are turned, have no box, or are listed nowhere or twice."""

import collections.abc
import os
import pathlib

from gfl_tf.data import images as image_files
from gfl_tf.data.coco import CocoDataset
from gfl_tf.dataset_check.findings import Example, Finding, finding
from gfl_tf.dataset_check.loading import Split


def check(split: Split) -> list[Finding]:
    """Findings of one split's files."""
    report, images = split.dataset.report, split.dataset.images
    bad = [
        Example(report.image_checks[record.id].problem, record.path if os.path.isfile(record.path) else "")
        for record in report.bad_images
    ]
    doubtful = [record.path for record in images if report.image_checks[record.id].is_doubtful]
    turned = [record.path for record in images if record.orientation != 1]
    return [
        *finding("bad_image", split.name, [*bad, *map(Example, split.skipped)]),
        *finding("exif_turned", split.name, [Example(path, path) for path in turned]),
        *finding("exif_doubtful", split.name, [Example(path, path) for path in doubtful]),
        *finding("repeated_image", split.name, [Example(path, path) for path in report.repeated_images]),
        *finding("mended_name", split.name, map(Example, report.mended_file_names)),
        *empty(split.dataset, split.name),
    ]


def empty(dataset: CocoDataset, split: str) -> list[Finding]:
    """Images without a box, be it a crowd's."""
    paths = [record.path for record in dataset.images if not len(record.boxes) + len(record.crowd_boxes)]
    return finding("empty_image", split, [Example(path, path) for path in paths])


def unlisted(splits: collections.abc.Sequence[Split]) -> list[Finding]:
    """Image files in the folders of listed ones that no split lists, under the first split with images there."""
    folders, known = {}, set()
    for split in splits:
        for record in (*split.dataset.images, *split.dataset.report.bad_images):
            path = os.path.abspath(record.path)
            known.add(path)
            folders.setdefault(os.path.dirname(path), split.name)
    found = {split.name: [] for split in splits}
    for folder, name in folders.items():
        files = sorted(pathlib.Path(folder).iterdir()) if os.path.isdir(folder) else []
        paths = [str(file) for file in files if file.suffix.lower() in image_files.SUFFIXES]
        found[name] += [path for path in paths if path not in known]
    return [each for name in found for each in finding("unlisted_image", name, map(_of_folder, found[name]))]


def _of_folder(path):
    return Example(path.encode(errors="replace").decode(), path)  # a name of bytes that are no text can be printed
