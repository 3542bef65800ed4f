"""Where the image files of a COCO file lie: always inside their folder."""

import os
import urllib.parse


def find(file_name: str, folder: str, where: str) -> tuple[str, bool]:
    """(path, whether the name had to be mended) of an image file in `folder`.

    A name is tried as it stands, then with its backslashes as slashes and its %20 as blanks. Where there is no such
    file either, the path is that of the name as it stands.

    Raises:
        ValueError: the name leads out of the folder; begins with `where`.
    """
    unquoted = urllib.parse.unquote(file_name)
    mended = {file_name.replace("\\", "/"), unquoted, unquoted.replace("\\", "/")} - {file_name}
    path = _inside(folder, file_name, where)
    if not mended or os.path.isfile(path):
        return path, False
    for name in sorted(mended):
        candidate = _inside(folder, name, where)
        if os.path.isfile(candidate):
            return candidate, True
    return path, False


def _inside(folder, name, where):
    # As text, so that a link in the folder may lead anywhere: its owner made it, not the annotation file.
    relative = os.path.relpath(os.path.join(folder, name), folder)
    if relative.split(os.sep)[0] == os.pardir:
        raise ValueError(
            f"{where} has the file name {name!r}, which leads out of the images folder {folder}: give a folder that has"
            " all images."
        )
    return os.path.join(folder, relative)
