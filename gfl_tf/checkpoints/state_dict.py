"""What a PyTorch checkpoint of a detector or backbone holds: its weights by name, and what it says about itself."""

import dataclasses
import os
import re

from gfl_tf.checkpoints import other_files, pickles, prefixes, safetensors_file, tensors, torch_file

# Entries of `meta` worth showing, as mmcv 1.x and mmengine name them.
META_FIELDS = ("epoch", "iter", "mmdet_version", "mmcv_version", "mmengine_version", "time", "exp_name",
               "experiment_name")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file.

    Attributes:
        path: of the file.
        weights: {name: read-only array}, views of the file. Names as in the file; `prefixes.choose` finds the module's.
        ignored: the entries of the file beside the weights, such as "optimizer".
        metadata: {field: string or number}, those of `META_FIELDS` that there are.
        class_names: tuple, or None where the file does not say.
        backbone_style: "pytorch" or "caffe" of the config that mmdetection leaves in the file, or None.
    """

    path: str
    weights: dict
    ignored: tuple
    metadata: dict
    class_names: tuple | None
    backbone_style: str | None = None


def read(path: str | os.PathLike, ema: bool | None = None) -> Checkpoint:
    """Reads a checkpoint; executes nothing of it.

    Weights lie in the file's "state_dict", in other dicts of it (such as "model"), or are the file itself. Where it has
    no "state_dict", or other dicts hold the same tensors as that, names begin with the keys that lead to them: "model."

    A training with mmcv's or mmengine's EMAHook keeps two sets of weights. Both hooks put the averaged weights under
    the plain names when a checkpoint is saved, and what the optimizer works on beside them: mmcv 1.x (at the end of an
    epoch) in the same dict, as "ema_" and the name with "_" for ".", mmengine in "ema_state_dict", as "module." and the
    name. What is missing there (buffers) is common to both. (mmcv's hook swaps at the end of an epoch: in a file saved
    amid one, the two are the other way round, which the file does not tell.)

    Args:
        path: file of `torch.save` or `pickle.dump`, with tensors or numpy's arrays, or .safetensors.
        ema: None: the plain names, which are what the reference itself evaluates. True: the averaged weights, an error
            where the file has but one set. False: those that are not averaged.

    Raises:
        ValueError: the file cannot be read, or holds no such weights; says why.
        OSError: there is no such file.
    """
    content = _content(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} {_no_weights(content)}")
    found = _found(content)
    nested = _has_weights(content.get("state_dict"))
    plain, other = _split_mmcv_ema(_tensors(content["state_dict"], path) if nested else _joined(found.values()))
    if not plain:
        raise ValueError(f"{path} {_no_weights(content)}")
    if nested and isinstance(content.get("ema_state_dict"), dict):
        other = _tensors(content["ema_state_dict"], path, prefix="module.")
    if ema and not other:
        raise ValueError(f"{path} holds no averaged weights; import it without --ema")
    chosen = {**plain, **other} if ema is False else plain
    if nested:
        found = {key: part for key, part in found.items() if _is_copy(key, part, plain)}
        chosen = {**chosen, **_joined(found.values())}
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    return Checkpoint(
        path=str(path),
        weights={name: _values(name, tensor, path) for name, tensor in chosen.items()},
        ignored=tuple(str(key) for key in content if key not in found and not (nested and key == "state_dict")),
        metadata={name: meta[name] for name in META_FIELDS if isinstance(meta.get(name), (str, int, float))},
        class_names=_class_names(meta),
        backbone_style=_backbone_style(meta),
    )


def _content(path):
    with open(path, "rb") as file:
        start = file.read(other_files.LONGEST)
    what = other_files.describe(start)
    if what:
        raise ValueError(f"{path} is {what}")
    return safetensors_file.read(path) if safetensors_file.is_one(path, start) else torch_file.read(path)


def _found(content):
    """{key of the file: {name: tensor}} of the keys that hold tensors; names begin with the keys that lead to them."""
    seen = set()  # dicts, which may hold themselves
    found = {key: _flat(key, value, seen) for key, value in content.items() if isinstance(key, str) and key != "meta"}
    return {key: part for key, part in found.items() if part}


def _flat(name, value, seen, depth=4):
    if _is_weight(value):
        return {name: value}
    if not isinstance(value, dict) or id(value) in seen or not depth:
        return {}
    seen.add(id(value))
    # Other keys than strings are those of an optimizer's state.
    keys = [key for key in value if isinstance(key, str)]
    return _joined(_flat(f"{name}.{key}", value[key], seen, depth - 1) for key in keys)


def _joined(parts):
    return {name: tensor for part in parts for name, tensor in part.items()}


def _is_copy(key, names, weights):
    """Whether what lies under another key than "state_dict" has the same names: other weights of the same module."""
    return key not in ("state_dict", "ema_state_dict") and bool(prefixes.candidates(names, weights))


def _has_weights(value):
    return isinstance(value, dict) and any(map(_is_weight, value.values()))


def _is_weight(value):
    return isinstance(value, tensors.Tensor) and value.has_numbers


def _tensors(entries, path, prefix=""):
    """The tensors under string names that begin with `prefix`, which is cut off."""
    entries = {key[len(prefix) :]: value for key, value in entries.items() if str(key).startswith(prefix)}
    others = [f"{key} ({_describe(value)})" for key, value in entries.items() if not _is_weight(value)]
    if others:
        raise ValueError(f"{path}: its state_dict has entries that are no plain tensors: {', '.join(others)}")
    return entries


def _split_mmcv_ema(weights):
    """(the weights, {their names: mmcv's EMA buffers})."""
    buffers = {
        f"{name[:start]}ema_{name[start:].replace('.', '_')}": name
        for name in weights
        for start in prefixes.starts(name)  # what comes before may be a prefix, such as "module."
    }
    other = {buffers[key]: value for key, value in weights.items() if key in buffers}
    return {key: value for key, value in weights.items() if key not in buffers}, other


def _values(name, tensor, path):
    try:
        return tensor.numpy()
    except ValueError as error:
        raise ValueError(f"{path}: {name}: {error}") from error


def _class_names(meta):
    """mmdet 2.x: meta["CLASSES"]; 3.x: meta["dataset_meta"], whose keys were in capitals at first."""
    dataset = meta.get("dataset_meta")
    dataset = dataset if isinstance(dataset, dict) else {}
    for names in (meta.get("CLASSES"), dataset.get("classes"), dataset.get("CLASSES")):
        if isinstance(names, str):
            names = (names,)  # of a data set of one class
        if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _backbone_style(meta):
    """mmdet 2.x: meta["config"]; 3.x: meta["cfg"]; a Python file as text. The backbone's is the only style in it."""
    texts = [meta[key] for key in ("config", "cfg") if isinstance(meta.get(key), str)]
    found = re.search(r"\bstyle\W+(pytorch|caffe)\b", "\n".join(texts))
    return found and found[1]


def _no_weights(content):
    """What a file without weights is, and what to do."""
    modules = {key: value for key, value in content.items() if _is_module(value)} if isinstance(content, dict) else {}
    if modules or _is_module(content):
        key, module = next(iter(modules.items()), (None, content))
        place = f"has under {key!r}" if modules else "is"
        loaded = "torch.load(FILE, 'cpu', weights_only=False)" + (f"[{key!r}]" if modules else "")
        return (
            f"{place} a whole module (pickled, of the class {module.name!r}) and no state_dict; where that class is "
            f"installed, take its weights out: torch.save({loaded}.state_dict(), 'weights.pth')"
        )
    return f"holds no weights: {_describe(content)}. Expected is a state_dict, or a dict with one"


def _is_module(value):
    return isinstance(value, pickles.Unknown) and "_parameters" in value.fields


def _describe(value):
    if isinstance(value, pickles.Unknown):
        return f"an object of {value.name!r}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, list(value)[:8]))}" if value else "an empty dict"
    return f"a {type(value).__name__}"
