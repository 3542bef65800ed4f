"""The tensors of a PyTorch file: views of storages, which are runs of numbers in the file."""

import math
import sys

import numpy as np
import tensorflow as tf

from gfl_tf.checkpoints import pickles

STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(tf.bfloat16.as_numpy_dtype),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Calls that wrap a tensor, their first argument; the last is how parameters were written before PyTorch 0.4.
PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
)


class Storage:
    """A run of `count` numbers in the file, which tensors are views of."""

    def __init__(self, dtype, count, data=None):
        self.dtype = dtype
        self.count = count
        self.data = data  # buffer; set once it is known where it lies

    def numbers(self):
        if self.data is None or len(self.data) != self.count * self.dtype.itemsize:
            there = "no bytes" if self.data is None else f"{len(self.data)} bytes"
            raise ValueError(f"a storage of {self.count} x {self.dtype} has {there} in the file: the file is damaged")
        return np.frombuffer(self.data, self.dtype)


class View:
    """Part of a storage, as PyTorch had it before 0.4."""

    def __init__(self, root, offset, count):
        self.root = root
        self.dtype = root.dtype
        self.offset = offset
        self.count = count

    def numbers(self):
        numbers = self.root.numbers()
        if self.offset < 0 or self.count < 0 or self.offset + self.count > len(numbers):
            raise ValueError("a view reaches out of its storage: the file is damaged")
        return numbers[self.offset : self.offset + self.count]


class Tensor:
    """A tensor of the file: a view of `storage`, whose bounds are checked when its values are asked for.

    Attributes:
        shape, strides: tuples; strides and `offset` count numbers, not bytes.
    """

    def __init__(self, storage, offset, shape, strides):
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    def numpy(self):
        """A read-only array, which shares the file's memory. Of bfloat16 in TensorFlow's dtype.

        Raises:
            ValueError: it reaches out of its storage.
        """
        numbers = self.storage.numbers()
        where = f"a tensor of shape {self.shape}, strides {self.strides} and offset {self.offset}"
        if len(self.strides) != len(self.shape) or min(self.offset, *self.shape, *self.strides, 0) < 0:
            raise ValueError(f"{where} makes no sense: the file is damaged")
        size = math.prod(self.shape)
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides))
        # Torch keeps expanded tensors (stride 0) as small storages of any shape; no weight is one.
        if size > len(numbers) or (size and last >= len(numbers)):
            raise ValueError(f"{where} reaches out of its storage of {len(numbers)}: the file is damaged")
        if size == 0 and max(self.shape) > sys.maxsize:
            raise ValueError(f"{where} makes no sense: the file is damaged")
        strides = [stride * numbers.itemsize if n > 1 else 0 for n, stride in zip(self.shape, self.strides)]
        offset = self.offset * numbers.itemsize if size else 0
        # Not `as_strided`, which checks nothing: numpy 1.26 crashes on 80 axes.
        return np.ndarray(self.shape, numbers.dtype, numbers, offset, strides)


def storage_of(identifier):
    """(Storage, key) of a persistent id ("storage", type, key, device, count); (None, None) of an unknown type."""
    if not isinstance(identifier, tuple) or len(identifier) < 5 or identifier[0] != "storage":
        return None, None
    key, count = identifier[2], identifier[4]
    dtype = dtype_of(identifier[1])
    if dtype is None or not isinstance(key, str):
        return None, None
    (count,) = integers([count])
    return Storage(dtype, count), key


def dtype_of(kind):
    """The numpy dtype of a storage type (torch.FloatStorage, as a `pickles.Global`), None of an unknown one."""
    return STORAGE_DTYPES.get(kind.name.rsplit(".", 1)[-1]) if isinstance(kind, pickles.Global) else None


def call(name, arguments):
    """What the known calls of a pickle give; all others give an `Unknown`."""
    if name == "collections.OrderedDict":
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        return {pair[0]: pair[1] for pair in pairs if isinstance(pair[0], str)}
    if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
        storage, offset, shape, strides = arguments[:4]
        if isinstance(storage, (Storage, View)):
            return Tensor(storage, *integers([offset]), integers(shape), integers(strides))
    if name == "torch.Size":
        return arguments[0]
    if name in PARAMETERS:
        return arguments[0]
    return pickles.Unknown(name)


def integers(values):
    if not isinstance(values, (tuple, list)) or not all(type(value) is int for value in values):
        raise ValueError("a shape, a stride or a count is not a number: the file is damaged")
    return tuple(values)


def check_byte_order(system):
    """Of the formats before 1.6, which pickle what they know about the machine.

    Raises:
        ValueError: it was not a little-endian one.
    """
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("a big-endian machine wrote it; load and save it on a little-endian one")
