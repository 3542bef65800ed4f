"""Config files: where they are, by path or by the name of one that comes with gfl_tf, and how they are read."""

import difflib
import importlib.util
import os
from pathlib import Path

import ml_collections

PACKAGE = Path(__file__).resolve().parent
# An installation has them inside the package, a checkout beside it.
FOLDER = PACKAGE / "configs" if (PACKAGE / "configs").is_dir() else PACKAGE.parent / "configs"


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
    if path.is_file():
        return path
    known = names()
    near = difflib.get_close_matches(path.stem, known, n=3, cutoff=0.5) or known
    wrong = f"no config file at {text}" if is_path else f"no config named {text!r}"
    remedy = "give the path of a .py file with get_config(), or a name that comes with gfl_tf, such as"
    raise ValueError(f"{wrong}: {remedy} {', '.join(near)}")


def load_config(config: str | os.PathLike) -> ml_collections.ConfigDict:
    """The ConfigDict of a config file (a Python file with `get_config()`), given as in `find`.

    What follows a colon is handed to `get_config`: "papers:gfl_1a/atss/joint".
    """
    name, colon, argument = os.fspath(config).partition(":")
    spec = importlib.util.spec_from_file_location("gfl_tf_config", find(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return ml_collections.ConfigDict(module.get_config(argument) if colon else module.get_config())
