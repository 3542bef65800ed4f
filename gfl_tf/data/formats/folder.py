"""A folder of images that nobody has annotated, as the readers of the formats bring their files into COCO's form."""

import collections.abc
import os
import typing

from gfl_tf.data import images as image_files
from gfl_tf.data.formats.entries import Entry, Export, to_coco


def read_folder(
    folder: str | os.PathLike, class_names: collections.abc.Sequence[str], on_bad_image: str = "error"
) -> tuple[dict[str, typing.Any], str]:
    """(what `load_coco` takes, the folder): its images, not those of its subfolders, in the order of their names.

    Args:
        folder: path; other files in it are warned of.
        class_names: of the categories.
        on_bad_image: "error", or "skip": an image whose size cannot be read is left out.

    Raises:
        ValueError: no such folder, no image in it, or a size that cannot be read.
    """
    image_files.warn_of_other_files([file.name for file in image_files.other_files([folder])])
    listed = [Entry(path.name, None, [], str(folder)) for path in image_files.find_files([folder])]
    return to_coco(Export(str(folder), str(folder), listed, tuple(class_names)), on_bad_image=on_bad_image)
