"""The files of a comparison."""

import json
import os
import pathlib

from gfl_tf import files
from gfl_tf.comparison import page
from gfl_tf.comparison.compare import Comparison


def write(comparison: Comparison, folder: str | os.PathLike) -> None:
    """Writes compare.json and index.html into a folder that is there.

    Raises:
        OSError: they cannot be written.
    """
    for name, content in (
        ("compare.json", json.dumps(comparison.content(), indent=1)),
        ("index.html", page.render(comparison)),
    ):
        files.write(pathlib.Path(folder) / name, content)
