"""The files of a check's report."""

import json
import os
import pathlib

from gfl_tf.dataset_check import page, text
from gfl_tf.dataset_check.check import Report
from gfl_tf.files import replacing


def write(report: Report, folder: str | os.PathLike) -> None:
    """Writes report.json and report.html; makes the folder.

    Raises:
        OSError: they cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("report.json", json.dumps(text.content(report), indent=1)),
        ("report.html", page.render(report)),
    ):
        with replacing(folder / name) as file:
            file.write(content)
