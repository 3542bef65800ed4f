"""What a detector is put together from: small values that do not change, and that Keras saves with the model."""

import collections.abc
import dataclasses
import inspect
import typing

import keras

from gfl_tf.rules import Rule, check_value

Class = typing.TypeVar("Class")


def part(cls: type[Class]) -> type[Class]:
    """Class decorator: a frozen dataclass of plain fields, given by name, that `keras.saving` can write and read."""
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    cls.get_config = arguments
    cls.from_config = classmethod(_from_config)
    package = cls.__module__.partition(".")[0]  # a user's part of the same name is another one
    return keras.saving.register_keras_serializable(package=package)(cls)


def arguments(value: typing.Any) -> dict[str, typing.Any]:
    """{argument of the constructor of `value`: its value there}, without those that every Keras object has."""
    names = set(inspect.signature(type(value).__init__).parameters) - {"self", "name", "kwargs"}
    return {name: getattr(value, name) for name in sorted(names)}


def check_fields(value: typing.Any, fields: collections.abc.Mapping[str, Rule]) -> None:
    """Raises ValueError for an attribute of `value` of which its rule does not hold; `fields`: {attribute: rule}."""
    for name, rule in fields.items():
        check_value(name, getattr(value, name), rule)


def _from_config(cls, config):
    return cls(**{name: _with_tuples(value) for name, value in config.items()})


def _with_tuples(value):
    """JSON has no tuples."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
