"""COCO JSON: `load_coco` reads it; here is where its images lie."""

import collections.abc
import json
import os
import pathlib

_LOOKED_FOR = 20  # images of a file, of which one must be in a folder for it to be the file's


def read_coco(path: str | os.PathLike, images_dir: str | os.PathLike | None = None) -> tuple[str, str]:
    """(the path, the folder of its images: by default the file's own or `images` in it).

    Raises:
        ValueError: the images are in neither folder.
    """
    if images_dir is None:
        folder = pathlib.Path(path).parent
        images_dir = images_folder(path, (folder, folder / "images"))
        if images_dir is None:
            raise ValueError(
                f"the images of {path} are not beside it: name their folder (--config.data.train_images or val_images "
                "of gfl-train, --images of gfl-evaluate)"
            )
    return str(path), str(images_dir)


def images_folder(path: str | os.PathLike, folders: collections.abc.Sequence[pathlib.Path]) -> pathlib.Path | None:
    """The first of `folders` that has images of a COCO JSON file; the first of all, if the file cannot be read."""
    try:
        images = json.loads(pathlib.Path(path).read_bytes())["images"]
        names = [str(image["file_name"]) for image in images[:_LOOKED_FOR]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        names = []
    if not names:
        return folders[0]  # load_coco says what is wrong with the file
    return next((folder for folder in folders if any(os.path.isfile(folder / name) for name in names)), None)
