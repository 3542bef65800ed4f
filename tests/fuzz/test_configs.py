"""Configs of any values: whole, or refused in one line with the field's name."""

import math

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf import build, config_files, field_rules
from gfl_tf.training import config as configs
from gfl_tf.training import fields
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

VALUES = (
    values.JSON
    | st.sampled_from(
        [math.nan, math.inf, -1, 0, 1, 0.5, 2, 10**12, (), (0, 0), (1, 2), "step", "sgd", "shapes", "auto"]
    )
    | st.tuples(st.integers(-2, 2000), st.integers(-2, 2000))
)
NAMES = st.sampled_from(
    [f"data.{name}" for name in field_rules.DATA]
    + [f"data.shapes.{name}" for name in field_rules.DATA["shapes"]]
    + [f"train.{name}" for name in field_rules.TRAIN]
    + list(field_rules.TOP)
) | st.text("abcdefgh.[]=-_0", max_size=8)
PARTS = [f"{field}.{name}" for field, value in build.default_model("gflv2").to_dict().items()
         for name in (value if isinstance(value, dict) else [""])]  # fmt: skip


def with_value(config, field, value):
    """A ConfigDict of the dict with another value in a dotted field."""
    *parts, last = field.split(".")
    node = config
    for part in parts:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return None
    node[last] = value
    return ml_collections.ConfigDict(config)


def refused(call):
    """What a call that may refuse its values says, one line; None: it takes them."""
    try:
        call()
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return str(error)
    return None


@given(field=st.sampled_from(sorted({*field_rules.TOP, *(f"data.{name}" for name in field_rules.DATA),
                                     *(f"train.{name}" for name in field_rules.TRAIN)})), value=VALUES)  # fmt: skip
def test_a_value_is_taken_or_named(field, value):
    config = with_value({"model": {}}, field, value)
    said = refused(lambda: configs.complete(config))
    if said is None:
        text = configs.to_json(configs.complete(config))
        assert configs.to_json(configs.from_json(text)) == text
    else:
        assert f"config.{field}" in said or field.rpartition(".")[2] in said


@given(data=values.JSON, train=values.JSON, name=st.text(max_size=5))
def test_any_parts_and_fields(data, train, name):
    try:
        config = ml_collections.ConfigDict({"model": {}, "data": data, name: train})
    except ValueError:  # a ConfigDict has no dots in its names
        return
    said = refused(lambda: configs.complete(config))
    assert said is None or said.startswith("config")


@given(field=st.sampled_from(PARTS), value=VALUES)
def test_a_value_of_the_model_is_taken_or_named(field, value):
    model = build.default_model("gflv2").to_dict()
    if field.endswith("."):
        model[field[:-1]] = value
    else:
        part, _, name = field.partition(".")
        model[part][name] = value
    try:
        config = ml_collections.ConfigDict({"model": model})
    except ValueError:  # a ConfigDict has no dots in its names
        return
    said = refused(lambda: build.check_detector(config))
    assert said is None or said.startswith("config.model")


@given(name=NAMES, value=st.text(max_size=6) | VALUES.map(repr))
def test_arguments_of_a_command_line(name, value):
    if "\n" in value:
        return
    said = refused(lambda: fields.check_given([f"--config.{name}={value}"]))
    assert said is None or "config" in said


@given(text=st.text(max_size=40) | values.JSON.map(repr))
def test_a_config_that_is_no_file(text):
    if "\0" not in text and "\n" not in text and "/" not in text:
        with pytest.raises(ValueError, match="no config "):
            config_files.find(f"{text}?")
