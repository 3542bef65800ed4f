"""The table of docs/augmentation.md is what the classes say."""

import ast
import inspect
import re
from pathlib import Path

from gfl_tf.data import augmentations

PAGE = Path(__file__).resolve().parents[2] / "docs" / "augmentation.md"


def test_table_has_every_operation_with_its_fields():
    stated = {}
    for names, fields in re.findall(r"^\| (`[^|]*) \| [^|]* \| ([^|]*)\|", PAGE.read_text(), re.MULTILINE):
        defaults = re.findall(r"`(\w+)=([^`]*)`", fields)
        values = {field: ast.literal_eval(value) for field, value in defaults}
        stated.update(dict.fromkeys(re.findall(r"`(\w+)`", names), values))
    wanted = {}
    for name, cls in augmentations.OPERATIONS.items():
        if cls.__module__.startswith("gfl_tf."):
            parameters = inspect.signature(cls).parameters
            wanted[name] = {field: parameter.default for field, parameter in parameters.items()}
    assert stated == wanted
