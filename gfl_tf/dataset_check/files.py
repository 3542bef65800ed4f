"""The files of a check's report."""

import json
import os
import pathlib

from gfl_tf import files
from gfl_tf.dataset_check import page, text
from gfl_tf.dataset_check.check import Report


def write(report: Report, folder: str | os.PathLike) -> None:
    """Writes report.json and report.html into a folder that is there.

    Raises:
        OSError: they cannot be written.
    """
    for name, content in (
        ("report.json", json.dumps(text.content(report), indent=1)),
        ("report.html", page.render(report)),
    ):
        files.write(pathlib.Path(folder) / name, content)
