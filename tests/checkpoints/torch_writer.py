"""Writes files in the two formats of torch.save, and such as torch would never write."""

import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np

LEGACY_START = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]


class Global:
    """Pickles as the global `module.name`, or as a call of it."""

    def __init__(self, module, name, *arguments):
        self.path = (module, name)
        self.arguments = arguments


class Object:
    """Pickles as an object of the class `cls`, a `Global` or `SavedClass`, with these attributes."""

    def __init__(self, cls, **attributes):
        self.cls = cls
        self.attributes = attributes


class SavedClass:
    """A class that torch stored with its source, as it did before 1.6."""

    def __init__(self, cls):
        self.identifier = ("module", cls, "nets.py", "class Net")


class Pickler(pickle._Pickler):  # the one in Python, whose opcodes can be written by hand
    """Writes `Global`s, and `Storage`s as torch writes them."""

    dispatch = dict(pickle._Pickler.dispatch)
    with_views = False

    def save_global_(self, value):
        module, name = value.path
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        if value.arguments:
            self.save(value.arguments)
            self.write(pickle.REDUCE)

    dispatch[Global] = save_global_

    def save_object(self, value):
        self.save(value.cls)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(value.attributes)
        self.write(pickle.BUILD)

    dispatch[Object] = save_object

    def persistent_id(self, value):
        if isinstance(value, Storage) and self.with_views:
            return (*value.identifier, value.view)
        return value.identifier if isinstance(value, (Storage, TarTensor, SavedClass)) else None


class Storage:
    def __init__(self, count, kind="FloatStorage", key="0", view=None):
        self.identifier = ("storage", Global("torch", kind), key, "cpu", count)
        self.view = view


class TarTensor:
    def __init__(self, key):
        self.identifier = str(key)


def tensor(count=6, offset=0, shape=(2, 3), strides=(3, 1), **options):
    arguments = (Storage(count, **options), offset, shape, strides, False, Global("collections", "OrderedDict", ()))
    return Global("torch._utils", "_rebuild_tensor_v2", *arguments)


def pickled(value, with_views=False):
    stream = io.BytesIO()
    pickler = Pickler(stream, 2)
    pickler.with_views = with_views
    pickler.dump(value)
    return stream.getvalue()


def write_zip(path, data_pkl, storages=None, compression=zipfile.ZIP_STORED, **extra):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/version", "3\n")
        for key, value in (storages if storages is not None else {"0": np.arange(6, dtype="<f4").tobytes()}).items():
            archive.writestr(f"archive/data/{key}", value)
        for name, value in extra.items():
            archive.writestr(f"archive/{name}", value)
    return path


def write_legacy(path, value, storages=None, start=LEGACY_START):
    storages = storages if storages is not None else {"0": (6, np.arange(6, dtype="<f4").tobytes())}
    content = b"".join(pickled(part, with_views=True) for part in (*start, value, list(storages)))
    for count, values in storages.values():
        content += struct.pack("<q", count) + values
    path.write_bytes(content)
    return path


def write_tar(path, value, **changed):
    """As PyTorch before 0.1.10: `value` holds `TarTensor`s; by default of tensor 5, [[0, 1, 2], [3, 4, 5]]."""
    numbers = struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes()
    storages = [1, (3, "cpu", Global("torch", "FloatStorage")), numbers, [(4, 3, 2, 4)]]  # 4: a view of 3
    described = struct.pack("<i4x2q2qq", 2, 2, 3, 3, 1, 0), struct.pack("<i4xqqq", 1, 2, 2, 1)
    kind = Global("torch", "FloatTensor")
    described = [2, (5, 3, kind), described[0], (6, 4, kind), described[1]]
    members = {"sys_info": [{"little_endian": True}], "pickle": [value], "storages": storages, "tensors": described}
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, parts in {**members, **changed}.items():
            content = b"".join(part if isinstance(part, bytes) else pickled(part) for part in parts)
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 0.5  # a fraction of a second takes a header of its own
            archive.addfile(member, io.BytesIO(content))
    return path


def write_state_dict(path, weights, **entries):
    """A zip file of {"state_dict": {name: array}, **entries}, of float32 and int64 arrays."""
    return write_content(path, {"state_dict": weights, **entries})


def write_content(path, content):
    """A zip file of dicts in dicts, whose float32 and int64 arrays are written as tensors."""
    storages = {}
    return write_zip(path, pickled(_with_tensors(content, storages)), storages)


def _with_tensors(value, storages):
    if isinstance(value, dict):
        return {key: _with_tensors(item, storages) for key, item in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    kind = {"float32": "FloatStorage", "int64": "LongStorage"}[value.dtype.name]
    strides = tuple(stride // value.itemsize for stride in value.strides)
    key = str(len(storages))
    storages[key] = value.tobytes()
    return tensor(value.size, 0, value.shape, strides, kind=kind, key=key)
