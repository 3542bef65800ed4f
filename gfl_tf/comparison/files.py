"""The files of a comparison."""

import json
import os
import pathlib

from gfl_tf.comparison import page
from gfl_tf.comparison.compare import Comparison
from gfl_tf.files import replacing


def write(comparison: Comparison, folder: str | os.PathLike) -> None:
    """Writes compare.json and index.html into a folder that is there.

    Raises:
        OSError: they cannot be written.
    """
    for name, content in (
        ("compare.json", json.dumps(comparison.content(), indent=1)),
        ("index.html", page.render(comparison)),
    ):
        with replacing(pathlib.Path(folder) / name) as file:
            file.write(content)
