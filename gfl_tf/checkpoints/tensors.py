"""The tensors of a PyTorch file: views of storages, which are runs of numbers in the file. And numpy's arrays in it."""

import math
import re
import sys
import zlib

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


# Calls that make numpy's arrays, by their names in numpy 1 and 2.
NUMPY_CALLS = re.compile(r"numpy\._?core\.(?:multiarray|numeric)\.(_reconstruct|scalar|_frombuffer)")
NUMPY_NUMBERS = re.compile("[fiu][1248]|b1")


class Record:
    """Bytes of the file that hold numbers.

    Attributes:
        name: of the record in its archive.
        data: buffer.
    """

    def __init__(self, name, data, checksum=0):
        self.name = name
        self.data = data
        self._checksum = checksum  # CRC-32, or 0 where there is none: torch can be told to leave it out

    def checked(self):
        """The data, which is read through once if it has a checksum.

        Raises:
            ValueError: it is not what was written.
        """
        if self._checksum and zlib.crc32(self.data) != self._checksum:
            raise ValueError(
                f"the record {self.name!r} does not have the checksum that the archive gives: the file is damaged, "
                "download or copy it again"
            )
        self._checksum = 0
        return self.data


class Storage:
    """A run of `count` numbers in the file, which tensors are views of."""

    def __init__(self, dtype, count, record=None):
        self.dtype = dtype
        self.count = count
        self.record = record  # set once it is known where it lies

    def numbers(self):
        if self.record is None or len(self.record.data) != self.count * self.dtype.itemsize:
            there = "no bytes" if self.record is None else f"{len(self.record.data)} bytes"
            raise ValueError(f"a storage of {self.count} x {self.dtype} has {there} in the file: the file is damaged")
        return np.frombuffer(self.record.checked(), self.dtype)


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
        has_numbers: False of an array of numpy's with something else in it.
    """

    has_numbers = True

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


class Array(Tensor):
    """An array that is there already."""

    def __init__(self, array):
        super().__init__(None, 0, array.shape, array.strides)
        self._array = array

    def numpy(self):
        return self._array


class PickledArray(Tensor, pickles.Pending):
    """An array of numpy's in the file."""

    has_numbers = False

    def __init__(self):
        super().__init__(None, 0, (), ())

    def build(self, state):
        _, shape, kind, in_fortran_order, data = state
        self.fill(data, kind, shape, "F" if in_fortran_order else "C")

    def fill(self, data, kind, shape, order):
        """Takes what numpy pickles: bytes, `PickledDtype`, shape and order."""
        if isinstance(data, str):
            data = data.encode("latin-1")  # as Python 2 wrote bytes
        if not isinstance(kind, PickledDtype) or kind.dtype is None or not isinstance(data, (bytes, bytearray)):
            return
        self.shape = integers(shape)
        sizes = self.shape if order == "F" else self.shape[::-1]
        strides = [math.prod(sizes[:axis]) for axis in range(len(sizes))]
        self.strides = tuple(strides if order == "F" else reversed(strides))
        self.storage = Storage(kind.dtype, len(data) // kind.dtype.itemsize, Record("array", data))
        self.has_numbers = True


class PickledDtype(pickles.Pending):
    """A number type of numpy's in the file; `dtype` is None of what is no number."""

    def __init__(self, kind):
        self.dtype = None
        if isinstance(kind, str) and NUMPY_NUMBERS.fullmatch(kind):
            self.dtype = np.dtype(kind)
        elif kind == pickles.Global("ml_dtypes.bfloat16"):
            self.dtype = np.dtype(tf.bfloat16.as_numpy_dtype)

    def build(self, state):
        if self.dtype is not None and state[1] in ("<", ">") and self.dtype.kind in "fiu":
            self.dtype = self.dtype.newbyteorder(state[1])


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
    return _numpy_call(name, arguments)


def _numpy_call(name, arguments):
    if name == "numpy.dtype":
        return PickledDtype(arguments[0])
    if name == "_codecs.encode" and isinstance(arguments[0], str):
        return arguments[0].encode("latin-1")  # how bytes are written before protocol 3, none of them as below
    if name in ("__builtin__.bytes", "builtins.bytes") and not arguments:
        return b""
    known = NUMPY_CALLS.fullmatch(name)
    if not known:
        return pickles.Unknown(name)
    array = PickledArray()
    if known[1] == "scalar":
        array.fill(arguments[1], arguments[0], (), "C")
    elif known[1] == "_frombuffer":
        array.fill(*arguments[:4])
    return array


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
