"""What stands before (and, of PyTorch's own wrappers, within) the names of a module's tensors in a file.

A module that is part of another one, or of a dict, has its names with a prefix: "model." of Lightning, "module." of
data parallelism, "teacher." beside "student.". What the prefix is follows from the names that are looked for.
"""

import collections
import dataclasses

from gfl_tf.texts import first_ones

# Wrappers of PyTorch that make a step of the name wherever they stand: of torch.compile, FSDP, activation checkpoints.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The tensors of one module.

    Attributes:
        weights: {name without what was cut off: value}.
        prefix: that was cut off, or "".
        wrappers: the steps that were cut out of names, sorted.
        outside: names of the file's other tensors, which belong to something else.
    """

    weights: dict
    prefix: str
    wrappers: tuple
    outside: tuple

    def said(self):
        """What was done to the names, for people; "" where it was nothing."""
        cut = [f"{self.prefix!r} at the beginning"] if self.prefix else []
        cut += [f"'{wrapper}.' within" for wrapper in self.wrappers]
        return f"cut off the file's names: {' and '.join(cut)}" if cut else ""


def choose(weights, wanted, prefix=None):
    """The tensors of the module that has the `wanted` names.

    Args:
        weights: {name in the file: value}.
        wanted: names of the module's tensors; the file may lack some.
        prefix: of the names in the file, with or without the last dot; None: whichever there is.

    Returns:
        `Chosen`. Where no name is a wanted one, all tensors as they are.

    Raises:
        ValueError: several prefixes would do, or none of the names begins with the one that is asked for.
    """
    names, wrappers = _names(weights, wanted)
    found = candidates(names, wanted)
    if prefix is not None:
        prefix = f"{prefix.rstrip('.')}." if prefix.strip(".") else ""
        prefix = _cut_wrappers(prefix) if wrappers else prefix
        found = _restrict(names, wanted, found, prefix)
    if len(found) > 1:
        raise ValueError(f"the names of the file begin with {_list(found)}: choose with {_flags(found)}")
    chosen = next(iter(found), "")
    others = tuple(other for other in candidates(names, wanted) if len(other) > len(chosen))
    inside = {name for name in names if name.startswith(chosen) and not name.startswith(others)}
    return Chosen(
        weights={name[len(chosen) :]: weights[known] for name, known in names.items() if name in inside},
        prefix=chosen,
        wrappers=wrappers,
        outside=tuple(known for name, known in names.items() if name not in inside),
    )


def candidates(names, wanted):
    """{prefix: how many of the wanted names follow it}, most first.

    Left out are those with less than half of the most, or than a tenth of all: "layer1.0." has a "conv1.weight" too.
    """
    wanted = set(wanted)
    counts = collections.Counter(name[:start] for name in names for start in starts(name) if name[start:] in wanted)
    least = max([len(wanted) / 10, *(count / 2 for count in counts.values())])
    return {prefix: count for prefix, count in counts.most_common() if count >= least}


def starts(name):
    """Where the steps of a name begin: "a.bc.d" -> 0, 2, 5."""
    return [0, *(index + 1 for index, letter in enumerate(name) if letter == ".")]


def _names(weights, wanted):
    """({name: name in the file}, wrappers that were cut out of it), without wrappers where more names then fit."""
    plain = {name: name for name in weights}
    cut = {_cut_wrappers(name): name for name in weights}
    if len(cut) < len(plain) or _most(cut, wanted) <= _most(plain, wanted):
        return plain, ()
    return cut, tuple(sorted(WRAPPERS.intersection(step for name in weights for step in name.split("."))))


def _most(names, wanted):
    return max(candidates(names, wanted).values(), default=0)


def _cut_wrappers(name):
    return ".".join(step for step in name.split(".") if step not in WRAPPERS)


def _restrict(names, wanted, found, prefix):
    """The candidates that begin with the prefix which was asked for."""
    inside = [name for name in names if name.startswith(prefix)]
    if not inside:
        known = _list(found) if found else _list(collections.Counter(name.split(".")[0] + "." for name in names))
        raise ValueError(f"no name of the file begins with {prefix!r}; they begin with {known}")
    if prefix in found:
        return {prefix: found[prefix]}
    return {key: count for key, count in candidates(inside, wanted).items() if key.startswith(prefix)} or {prefix: 0}


def _list(counts):
    texts = [f"{prefix!r} ({count})" if prefix else f"no prefix at all ({count})" for prefix, count in counts.items()]
    return ", ".join(first_ones(texts, 8))


def _flags(counts):
    flags = " or ".join(f"--prefix={prefix}" for prefix in list(counts)[:8])
    return f"{flags} of gfl-import-checkpoint, prefix=... in Python"
