"""What a PyTorch checkpoint of a detector or backbone holds: its weights by name, and what it says about itself."""

import dataclasses

from gfl_tf.checkpoints import pickles, tensors, torch_file

# Entries of `meta` worth showing, as mmcv 1.x and mmengine name them.
META_FIELDS = ("epoch", "iter", "mmdet_version", "mmcv_version", "mmengine_version", "time", "exp_name",
               "experiment_name")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file.

    Attributes:
        path: of the file.
        weights: {name: read-only array}, views of the file. Names as the module's that was saved.
        ignored: the entries of the file beside the weights, such as "optimizer".
        metadata: {field: string or number}, those of `META_FIELDS` that there are.
        class_names: tuple, or None where the file does not say.
    """

    path: str
    weights: dict
    ignored: tuple
    metadata: dict
    class_names: tuple | None


def read(path, ema=None):
    """Reads a checkpoint; executes nothing of it.

    Weights lie in the file's "state_dict", or are the file itself. A training with mmcv's or mmengine's EMAHook keeps
    two sets of them. Both hooks put the averaged weights under the plain names when a checkpoint is saved, and what
    the optimizer works on beside them: mmcv 1.x (at the end of an epoch) in the same dict, as "ema_" and the name with
    "_" for ".", mmengine in "ema_state_dict", as "module." and the name. What is missing there (buffers) is common
    to both. (mmcv's hook swaps at the end of an epoch: in a file saved amid one, the two are the other way round, which
    the file does not tell.)

    Args:
        path: .pth file.
        ema: None: the plain names, which are what the reference itself evaluates. True: the averaged weights, an error
            where the file has but one set. False: those that are not averaged.

    Raises:
        ValueError: the file cannot be read, or holds no such weights; says why.
        OSError: there is no such file.
    """
    content = torch_file.read(path)
    nested = isinstance(content, dict) and isinstance(content.get("state_dict"), dict)
    plain = content["state_dict"] if nested else content
    if not isinstance(plain, dict) or not any(isinstance(value, tensors.Tensor) for value in plain.values()):
        raise ValueError(f"{path} holds no weights: {_describe(content)}. Expected is a state_dict, or a dict with one")
    plain, other = _split_mmcv_ema(_tensors(plain, path))
    if nested and isinstance(content.get("ema_state_dict"), dict):
        other = _tensors(content["ema_state_dict"], path, prefix="module.")
    if ema and not other:
        raise ValueError(f"{path} holds no averaged weights; import it without --ema")
    chosen = {**plain, **other} if ema is False else plain
    meta = content.get("meta") if nested else None
    meta = meta if isinstance(meta, dict) else {}
    return Checkpoint(
        path=str(path),
        weights={name: _values(name, tensor, path) for name, tensor in _without_module(chosen).items()},
        ignored=tuple(str(key) for key in content if key != "state_dict") if nested else (),
        metadata={name: meta[name] for name in META_FIELDS if isinstance(meta.get(name), (str, int, float))},
        class_names=_class_names(meta),
    )


def _tensors(entries, path, prefix=""):
    """The tensors under string names that begin with `prefix`, which is cut off."""
    entries = {key[len(prefix) :]: value for key, value in entries.items() if str(key).startswith(prefix)}
    others = [f"{key} ({_describe(value)})" for key, value in entries.items()
              if not isinstance(value, tensors.Tensor)]  # fmt: skip
    if others:
        raise ValueError(f"{path}: its state_dict has entries that are no plain tensors: {', '.join(others)}")
    return entries


def _split_mmcv_ema(weights):
    """(the weights, {their names: mmcv's EMA buffers})."""
    buffers = {f"ema_{name.replace('.', '_')}": name for name in _without_module(weights)}
    other = {}
    for key, value in _without_module(weights).items():
        if key in buffers and buffers[key] != key:
            other[buffers[key]] = value
    plain = {key: value for key, value in _without_module(weights).items() if key not in buffers}
    return plain, other


def _without_module(weights):
    """The names without the prefix that PyTorch's (Distributed)DataParallel puts before them."""
    if all(name.startswith("module.") for name in weights):
        return {name[len("module.") :]: value for name, value in weights.items()}
    return weights


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


def _describe(value):
    if isinstance(value, pickles.Unknown):
        return f"an object of {value.name!r}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(repr, list(value)[:8]))}" if value else "an empty dict"
    return f"a {type(value).__name__}"
