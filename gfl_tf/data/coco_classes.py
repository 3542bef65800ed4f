"""Which categories of a COCO file are the classes."""

import collections
import collections.abc
import typing

from absl import logging


def choose(
    categories: dict[typing.Any, dict],
    used: collections.abc.Set,
    class_names: collections.abc.Sequence[str] | None,
    source: str,
) -> tuple[tuple[str, ...], tuple]:
    """(class names, category id of each or None) in the order of the classes.

    Some tools add a root category, of which the others are kinds and which no annotation has. It is no class, unless
    `class_names` has its name and no other category has it.

    Args:
        categories: {id: category}.
        used: the ids of categories that annotations have.
        class_names: the classes in the wanted order, of which the file may lack some; None: all categories but roots,
            in the order of their ids, or in that of the file where an id is no number.
        source: how messages name the file.

    Raises:
        ValueError: there is no category, two have one name, or `class_names` names a class twice or no category at all.
    """
    name_of = {key: str(category["name"]) for key, category in categories.items()}
    roots = _roots(categories, used)
    id_of = {}
    for key in _in_order(categories):
        if key in roots:
            continue
        if name_of[key] in id_of:
            raise ValueError(f"{source}: categories {id_of[name_of[key]]} and {key} are both named '{name_of[key]}'.")
        id_of[name_of[key]] = key
    if not id_of:
        raise ValueError(f"{source} has no categories.")
    if class_names:
        return _given(tuple(class_names), {**{name_of[key]: key for key in roots}, **id_of}, source)
    if roots:
        listed = ", ".join(f"'{name_of[key]}' (id {key})" for key in roots)
        logging.warning("%s: no annotation has the root category %s; it is no class.", source, listed)
    return tuple(id_of), tuple(id_of.values())


def _given(names, id_of, source):
    if len(set(names)) != len(names):
        raise ValueError(f"class_names {names} names a class twice.")
    if not id_of.keys() & set(names):
        raise ValueError(
            f"class_names has {', '.join(names)}, none of which is a category of {source}; it has {', '.join(id_of)}."
        )
    return names, tuple(id_of.get(name) for name in names)


def _roots(categories, used):
    """Ids of the categories without annotations that are the supercategory of another."""
    parents = {key: category.get("supercategory") for key, category in categories.items()}
    children = collections.Counter(parent for parent in parents.values() if isinstance(parent, str))
    return [
        key
        for key, category in categories.items()
        if key not in used and children[category["name"]] > (parents[key] == category["name"])
    ]


def _in_order(categories):
    return list(categories) if any(isinstance(key, str) for key in categories) else sorted(categories)
