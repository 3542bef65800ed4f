"""Config files: where they are, by path or by the name of one that comes with gfl_tf, how they are read and changed."""

import collections.abc
import copy
import difflib
import importlib.util
import inspect
import json
import os
from pathlib import Path

import ml_collections
from absl import flags
from ml_collections import config_flags

PACKAGE = Path(__file__).resolve().parent
# An installation has them inside the package, a checkout beside it.
FOLDER = PACKAGE / "configs" if (PACKAGE / "configs").is_dir() else PACKAGE.parent / "configs"
RUN_FILE = "config.json"  # in a run directory


def names() -> list[str]:
    """The names of the configs that come with gfl_tf, sorted."""
    return sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def find(config: str | os.PathLike) -> Path:
    """The path of the config file that `config` means: itself a path, with a folder or .py in it, or one of `names()`.

    Raises:
        ValueError: there is no such file; the message has the names that are nearest.
    """
    text = os.fspath(config)
    is_path = text.endswith(".py") or os.path.basename(text) != text
    path = Path(text) if is_path else FOLDER / f"{text}.py"
    if os.path.isfile(path):  # Path.is_file fails on a name too long
        return path
    known = names()
    near = difflib.get_close_matches(path.stem, known, n=3, cutoff=0.5) or known
    wrong = f"no config file at {text}" if is_path else f"no config named {text!r}"
    remedy = "give the path of a .py file with get_config(), or a name that comes with gfl_tf, such as"
    raise ValueError(f"{wrong}: {remedy} {', '.join(near)}")


def load_config(config: str | os.PathLike) -> ml_collections.ConfigDict:
    """The ConfigDict of a config file (a Python file with `get_config()`), given as in `find`.

    What follows a colon is handed to `get_config`: "papers:gfl_1a/atss/joint".

    Raises:
        ValueError: there is no such file, or it is no Python or has no `get_config` that returns a config, or none that
            takes what follows a colon.
    """
    text = os.fspath(config)
    name, colon, argument = text.partition(":")
    path = find(name)
    spec = importlib.util.spec_from_file_location("gfl_tf_config", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}, is no Python: {error.msg}") from error
    if not hasattr(module, "get_config"):
        raise ValueError(f"{path} has no get_config(), which returns the config; docs/configuration.md says more")
    if colon and not inspect.signature(module.get_config).parameters:
        raise ValueError(f"{text}: get_config() of {path} takes nothing that could stand behind a colon")
    values = module.get_config(argument) if colon else module.get_config()
    if not isinstance(values, (dict, ml_collections.ConfigDict)):
        raise ValueError(f"get_config() of {path} returns {values!r}; it must be a ConfigDict")
    return ml_collections.ConfigDict(values)


def overridden(
    config: ml_collections.ConfigDict, arguments: collections.abc.Sequence[str]
) -> ml_collections.ConfigDict:
    """A copy of a config with the fields that a command line sets.

    Args:
        arguments: such as "--config.train.epochs=3", as ml_collections takes them.

    Raises:
        ValueError: there is no such field, or its type is another.
    """
    config = ml_collections.ConfigDict(copy.deepcopy(config.to_dict()))  # tuples of dicts, too
    for argument in arguments:
        _check_field(config, argument.partition("=")[0].partition(".")[2])
    values = flags.FlagValues()
    command_line = ["gfl_tf", *arguments]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=command_line)
    try:
        values(command_line)
    except (flags.Error, TypeError) as error:
        raise ValueError(str(error)) from error
    return values.config


def _check_field(config, name):
    try:
        config_flags.config_path.get_type(name, config)
    except (AttributeError, LookupError, TypeError, ValueError):
        near = difflib.get_close_matches(name, _field_names(config), n=3)
        meant = f" Did you mean {', '.join(near)}?" if near else " docs/configuration.md lists them."
        raise ValueError(f"--config.{name}: the config has no such field.{meant}") from None


def _field_names(config, prefix=""):
    for name, value in config.items():
        yield f"{prefix}{name}"
        if isinstance(value, ml_collections.ConfigDict):
            yield from _field_names(value, f"{prefix}{name}.")


def read_run(run_dir: str | os.PathLike) -> ml_collections.ConfigDict:
    """The resolved config that a run directory keeps.

    Raises:
        ValueError: the directory holds no run.
    """
    file = Path(run_dir) / RUN_FILE
    if not file.is_file():
        raise ValueError(f"{run_dir} holds no run: there is no {file}. gfl-train --config=FILE makes one.")
    try:
        return from_json(file.read_text())
    except (AttributeError, TypeError, ValueError) as error:  # no JSON, or no object
        raise ValueError(
            f"{file} is damaged: {error}. Remove it and name the config that the run began with: --config=..."
        ) from error


def to_json(config: ml_collections.ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """The ConfigDict of `to_json`, with the tuples that JSON turned into lists."""
    return ml_collections.ConfigDict(_tuples(json.loads(text)))


def _tuples(value):
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
