"""Writes docs/configuration.md: every field of a config, out of the classes, their docstrings and the comments.

    python docs/make_configuration.py

A field's meaning is its entry under "Attributes:" or "Args:" in the docstring of its class; that of a field of `data`,
`train` and `model` itself is the comment behind it, or above it, where it gets its default.
"""

import ast
import dataclasses
import functools
import inspect
import io
import re
import sys
import textwrap
import tokenize
from pathlib import Path

import keras
import ml_collections

from gfl_tf import build, field_rules, rules
from gfl_tf.data import augmentations
from gfl_tf.detectors.detector import Detector
from gfl_tf.detectors.recipes import Recipe
from gfl_tf.training import config as configs

PAGE = Path(__file__).resolve().parent / "configuration.md"
COMMAND = "python docs/make_configuration.py"
WIDTH = 120

HEADER = f"""# Configuration

Every field of a config, with what it may be, its default and its meaning. This page is made by

    {COMMAND}

Change the docstrings and comments that it is made from, not the page. [extending.md](extending.md) says how a new kind
of a part gets here.

A config is a Python file with `get_config()`, which returns a ConfigDict of plain values; `configs/` has examples. The
commands take fields by their dotted names, such as `--config.model.boxes.bin_width=0.5`. A run keeps the resolved
config in its `config.json`. A wrong name or value is refused before anything is built.

A run goes on with `gfl-train --run_dir=RUN`, and there too fields can be set: those of `data` that say where its images
and annotations lie, `data.on_bad_image`, and what changes no weights, such as `train.log_every`. All others are
refused. So data may move, if they stay the same: `--config.data.train_images=NEW`. Their number, ids, file names, boxes
and classes are compared with what the run's `data.json` says of them. A teacher that has moved is named likewise, with
`--config.train.teacher=NEW`, and its weights are compared. [runs.md](runs.md) says what happens to a run that was
stopped, killed or damaged.
"""
TOP = {
    "name": "Of the model, and of the folder of its exports.",
    "seed": "Of the first weights, the order of the images and what the augmentations draw.",
    "precision": "Keras's policy of the layers.",
    "model": "The detector: see below.",
    "data": "The images and boxes: see below.",
    "train": "The training: see below.",
}


def page():
    """The text of the page."""
    return "\n".join([HEADER, *_top(), *_model(), *_data(), *_train()])


def documented():
    """{field or "part, name": {argument: meaning}} of all that the page lists."""
    found = {
        "data": {name: meaning for name, _, meaning in _fields(configs.default_data)},
        "train": {name: meaning for name, _, meaning in _fields(configs.default_train)},
        "model": {name: meaning for name, _, meaning in _model_fields()},
    }
    for part, classes in build.PARTS.items():
        for name, cls in _named(classes):
            found[f"{part}, {name}" if name else part] = {
                argument: meaning for argument, _, _, meaning in _arguments(part, cls)
            }
    return found


def _top():
    completed = configs.complete(ml_collections.ConfigDict({"model": {}}))
    lines = ["## The config\n"]
    for name, meaning in TOP.items():
        value = completed[name]
        default = None if isinstance(value, ml_collections.ConfigDict) else value
        lines.append(_item(name, _allowed(field_rules.TOP[name]), default, meaning))
    return [*lines, ""]


def _model():
    needed = [field.name for field in dataclasses.fields(Recipe) if field.default is dataclasses.MISSING]
    lines = ["## config.model\n"]
    lines += _wrap("`gfl_tf.build.default_model(DETECTOR)` has all fields with the values of a paper. A config needs "
                   f"{_joined(['backbone', *needed])} and, where no training takes it from its annotations, "
                   "`num_classes`; all else may be left out.\n")  # fmt: skip
    lines += [_item(field, _type(default), default, meaning) for field, default, meaning in _model_fields()]
    lines += ["", "### The recipes\n", *_wrap("What `default_model` sets, and how it differs from the defaults:\n")]
    for name, recipe in build.RECIPES.items():
        lines.append(_wrapped_item(f"**{name}**: {_recipe_text(recipe)}."))
    for part, classes in build.PARTS.items():
        for name, cls in _named(classes):
            lines += ["", f"### model.{part}{f', name {_code(name)}' if name else ''}\n"]
            lines += _wrap(f"`{cls.__name__}`: {_summary(cls)}\n")
            lines += _list(_arguments(part, cls))
    return [*lines, "", *_backbones(), ""]


def _model_fields():
    """[(field, default, meaning)] of the fields of `config.model` that are no parts."""
    default, comments = build.default_model(), _comments(build.default_model)
    of_recipe = {field.name for field in dataclasses.fields(Recipe)} | {*build.PARTS, "backbone"}
    found = [field for field in _fields(build.default_model) if field[0] not in of_recipe]
    for field in ("name", "weights", "freeze_batch_norm"):
        meaning = comments[f"backbone.{field}"].replace("one of BACKBONES", "one of those below")
        found.append((f"backbone.{field}", default.backbone[field], meaning))
    of_detector = _entries(Detector)
    for field in dataclasses.fields(Recipe):
        if field.name not in build.PARTS:
            found.append((field.name, field.default, of_detector[field.name]))
    return found


def _recipe_text(recipe):
    texts = []
    for field in build.PARTS:
        value = getattr(recipe, field, None)
        if value is None:
            continue
        plain = build.part_config(field, value, recipe)
        name = plain.pop("name", "")
        cls = value.func if isinstance(value, functools.partial) else type(value)
        defaults = {argument: default for argument, _, default, _ in _arguments(field, cls)}
        changed = _joined([f"{key}={_short(item)}" for key, item in plain.items() if item != defaults[key]])
        words = [field, _code(name) if name else "", f"({changed})" if changed else ""]
        if name or changed:
            texts.append(" ".join(word for word in words if word))
    weights = [f"{name} {getattr(recipe, name)}" for name in ("box_weight", "refined_box_weight", "count_empty_images")]
    return "; ".join([*texts, *(text for text in weights if not text.endswith("None"))])


def _backbones():
    lines = ["### model.backbone, arguments\n"]
    lines += _wrap("`name` is one of the following, `arguments` those of its class or function. "
                   "[backbones.md](backbones.md) says what their weights expect of pixels.\n")  # fmt: skip
    for name, make in build.BACKBONES.items():
        if make.__module__.startswith("gfl_tf."):
            lines += [f"#### {name}\n", *_wrap(f"`{make.__name__}`: {_summary(make)}\n")]
            lines += _list(_signature(make))
            others = _entries(make).get("arguments")
            lines += [_wrapped_item(f"All others: {others}"), ""] if others else [""]
    lines.append("#### KerasCV's\n")
    for name, make in build.BACKBONES.items():
        if not make.__module__.startswith("gfl_tf."):
            names = [f"`{argument}`" for argument in _parameters(make)]
            lines.append(_wrapped_item(f"`{name}`: `keras_cv.models.{make.__name__}` ({', '.join(names)})."))
    return lines


def _data():
    lines = ["## config.data\n"]
    lines += _ruled(field_rules.DATA, _fields(configs.default_data))
    lines += ["", "### data.augmentations\n"]
    own = [name for name, cls in augmentations.OPERATIONS.items() if cls.__module__.startswith("gfl_tf.")]
    lines += _wrap("A list of `dict(name=..., fields that are not at their default)`. "
                   "[augmentation.md](augmentation.md) has the fields of each and says how the list is worked off. "
                   f"The names are {_joined(sorted(own))}.\n")  # fmt: skip
    return lines


def _train():
    return ["## config.train\n", *_ruled(field_rules.TRAIN, _fields(configs.default_train)), ""]


def _ruled(of_fields, fields):
    return [_item(name, _allowed(of_fields[name]), value, meaning) for name, value, meaning in fields]


def _allowed(rule):
    """What a field may be; of one that has fields, what these may be."""
    if isinstance(rule, rules.Rule):
        return rule.text
    return "; ".join(["a dict of fields", *(f"`{name}` {_allowed(own)}" for name, own in rule.items())])


# What the classes say.


def _arguments(part, cls):
    """[(argument, type, default, meaning)] of a part's class: those that a config can set."""
    if not issubclass(cls, keras.layers.Layer):
        return _signature(cls)
    for recipe in build.RECIPES.values():
        try:
            plain = build.part_config(part, functools.partial(cls), recipe)
        except ValueError:  # a head that does not fit the other parts of this recipe
            continue
        return [entry for entry in _signature(cls) if entry[0] in plain]
    raise ValueError(f"no recipe fits {cls.__name__}")


def _signature(make):
    """[(argument, type, default, meaning)] of a class or function."""
    meanings = _entries(make)
    found = []
    for name, parameter in _parameters(make).items():
        default = None if parameter.default is parameter.empty else parameter.default
        kind = "needed" if parameter.default is parameter.empty else _type(default)
        found.append((name, kind, default, meanings.get(name, "")))
    return found


def _parameters(make):
    function = make.__init__ if isinstance(make, type) else make
    parameters = inspect.signature(function).parameters
    return {
        name: parameter
        for name, parameter in parameters.items()
        if name not in ("self", "name") and parameter.kind is not parameter.VAR_KEYWORD
    }


def _entries(make):
    """{argument: meaning} of the docstrings of a class with those of its bases, or of a function."""
    found = {}
    sources = reversed(make.__mro__) if isinstance(make, type) else [make]
    sources = [source for source in sources if source.__module__.startswith("gfl_tf.")]
    for source in sources:
        module = sys.modules[source.__module__]
        for names, text in _docstring_entries(source.__doc__ or ""):
            found.update(dict.fromkeys(names, _expanded(text, module)))
        # A loss says what it does in its function.
        function = vars(source).get("function") if isinstance(source, type) else None
        if function:
            entries = {name: text for names, text in _docstring_entries(function.__doc__) for name in names}
            found.update({name: entries.get(name, "as in the equation") for name in _parameters(source)})
    for name, text in list(found.items()):  # "see `DGQP`", "as `ResNet`'s"
        other = re.fullmatch(r"(?:see|as) `(\w+)`(?:'s)?\.?", text)
        if other:
            found[name] = _entries(_find(other[1], sys.modules[make.__module__])).get(name, text)
    return found


def _find(name, module):
    classes = [cls for classes in build.PARTS.values() for _, cls in _named(classes)]
    known = [*vars(module).values(), *classes, *build.BACKBONES.values()]
    return next(cls for cls in known if getattr(cls, "__name__", "") == name)


def _docstring_entries(docstring):
    """[(names, text)] under "Args:" and "Attributes:"."""
    lines = inspect.cleandoc(docstring).splitlines()
    found, inside = [], False
    for line in lines:
        if re.match(r"\S", line):
            inside = line in ("Args:", "Attributes:")
            continue
        entry = re.match(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)", line)
        if inside and entry:
            found.append((entry[1].replace("*", "").split(", "), entry[2]))
        elif inside and line.strip() and found:
            found[-1] = found[-1][0], f"{found[-1][1]} {line.strip()}"
    return found


def _expanded(text, module):
    """The values of a module's constant in the place of its name."""

    def values(match):
        constant = getattr(module, match[1], None)
        is_list = isinstance(constant, (tuple, dict))
        return ", ".join(_code(repr(value)) for value in constant) if is_list else match[0]

    return re.sub(r"`([A-Z_]{2,})`", values, text)


def _summary(make):
    """The first paragraph of a docstring; of a loss, what its function says ahead of its arguments."""
    function = vars(make).get("function") if isinstance(make, type) else None
    if not function:
        return _sentence(_paragraphs(make)[0])
    paragraphs = _paragraphs(function)
    first = next((i for i, text in enumerate(paragraphs) if text.startswith(("Args:", "Returns:"))), len(paragraphs))
    return " ".join(_sentence(text) for text in paragraphs[:first])


def _paragraphs(make):
    return [" ".join(text.split()) for text in inspect.cleandoc(make.__doc__).split("\n\n")]


def _sentence(text):
    return text if text.endswith((".", ":")) else f"{text}."


# What the comments say.


def _comments(function):
    """{field: comment} of a function that sets fields: `data.scale = ...  # this`, or the lines above.

    The fields inside a `dict(...)` are "field.key".
    """
    source = textwrap.dedent(inspect.getsource(function))
    lines = source.splitlines()
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and "fmt:" not in token.string:
            row = token.start[0]
            comments[row] = token.string.lstrip("# "), lines[row - 1].lstrip().startswith("#")
    found = {}
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            name = node.targets[0].attr
            found[name] = _comment_at(comments, node)
            if isinstance(node.value, ast.Call):
                for keyword in node.value.keywords:
                    found[f"{name}.{keyword.arg}"] = _comment_at(comments, keyword)
    return found


def _comment_at(comments, node):
    """Behind the node, and otherwise above it."""
    for row in (node.lineno, node.end_lineno):
        if row in comments and not comments[row][1]:
            return comments[row][0]
    rows, row = [], node.lineno - 1
    while row in comments and comments[row][1]:
        rows.insert(0, comments[row][0])
        row -= 1
    return " ".join(rows)


def _fields(function):
    """[(field, default, meaning)] of a function that makes a ConfigDict, in the order of its source."""
    comments, defaults = _comments(function), function()
    order = [name for name in comments if name in defaults] + [name for name in defaults if name not in comments]
    return [(name, defaults[name], comments.get(name, "")) for name in order]


# Text.


def _named(classes):
    return classes.items() if isinstance(classes, dict) else [("", classes)]


def _type(value):
    if isinstance(value, ml_collections.ConfigDict):
        return "fields"
    return "optional" if value is None else type(value).__name__


def _short(value):
    """Python's text of a value, its floats to five digits."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"({', '.join(map(_short, value))})" if isinstance(value, tuple) else repr(value)


def _list(arguments):
    if not arguments:
        return ["It has no arguments."]
    return [_item(*argument) for argument in arguments]


def _item(name, kind, default, meaning):
    if isinstance(default, ml_collections.ConfigDict):
        default = f"dict({', '.join(f'{key}={value!r}' for key, value in default.items())})"
    else:
        default = "" if default is None else repr(default)
    meaning = meaning[:1].upper() + meaning[1:] if re.match(r"[a-z]{2,}(?!\w|:)", meaning) else meaning
    meaning = meaning if meaning.endswith((".", "?", ")")) or not meaning else f"{meaning}."
    text = f"`{name}` ({kind}{f'; default {_code(default)}' if default else ''})"
    return _wrapped_item(f"{text}: {meaning}" if meaning else text)


def _wrapped_item(text):
    return "\n".join(_wrap(f"- {text}", indent="  "))


def _wrap(text, indent=""):
    """Lines of `WIDTH`; code is not broken."""
    end = "\n" if text.endswith("\n") else ""
    glued = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), text.strip())
    lines = textwrap.wrap(
        glued, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    lines = [line.replace("\0", " ") for line in lines]
    return [*lines[:-1], lines[-1] + end]


def _code(text):
    return f"`{text}`"


def _joined(texts):
    return ", ".join(f"`{text}`" for text in texts)


def main():
    PAGE.write_text(page())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
