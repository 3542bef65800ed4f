"""Reads what `torch.save` wrote, without torch and without running anything of it.

All three formats: the zip archive of PyTorch 1.6 and later, the sequence of pickles before it, and the tar archive
(`torch_tar`) of the first months; and what Python's own `pickle.dump` wrote, of numpy's arrays. The file is mapped into
memory and tensors are views of it, so that only those which are used are ever read.
"""

import io
import mmap
import os
import struct
import zipfile

from gfl_tf.checkpoints import pickles, tensors, torch_tar

# The first pickle of the format before 1.6, and the version of it.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ZIP_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field


def read(path):
    """The object that was saved: dicts, lists, tuples, strings, numbers, and `tensors.Tensor`s.

    All else that the file holds (objects of classes) is a `pickles.Unknown`.

    Raises:
        ValueError: no such file format, a damaged file, or one of a big-endian machine.
        OSError: it cannot be opened.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError(f"{path} is empty")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        if content[:4] == b"PK\x03\x04":
            return _read_zip(content)
        if content[257:262] == b"ustar":
            return torch_tar.read(content)
        return _read_legacy(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a PyTorch checkpoint: {error}") from error


def _read_zip(content):
    records = _zip_records(content)
    pickled = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise ValueError(_other_archive(list(records)))
    archive = pickled[0].split("/")[0]
    if f"{archive}/constants.pkl" in records or any(name.startswith(f"{archive}/code/") for name in records):
        raise ValueError(
            "it is a TorchScript program; where PyTorch is installed, take its weights out: "
            "torch.save(torch.jit.load(FILE, 'cpu').state_dict(), 'weights.pth')"
        )
    byteorder = records.get(f"{archive}/byteorder")
    if byteorder and bytes(byteorder.checked()) != b"little":
        raise ValueError("a big-endian machine wrote it; load and save it on a little-endian one")

    def persistent(identifier):
        storage, key = tensors.storage_of(identifier)
        if storage:
            storage.record = records.get(f"{archive}/data/{key}")
        return storage or pickles.Unknown("storage")

    return pickles.read(io.BytesIO(records[pickled[0]].checked()), tensors.call, persistent)


def _other_archive(names):
    """What a zip archive is that torch did not write."""
    if names and all(name.endswith(".npy") for name in names):
        return "it is a file of numpy's (.npz); one that gfl_tf wrote is loaded by --config.model.weights=FILE"
    if any(name.endswith(".weights.h5") for name in names):
        return "it is a model of Keras, and no checkpoint of PyTorch"
    return (
        "it is a zip archive, but not one of torch.save: it has no single ARCHIVE/data.pkl, but "
        f"{', '.join(map(repr, names[:3])) or 'nothing'}. If the checkpoint is inside, unpack it"
    )


def _zip_records(content):
    """{name: `tensors.Record`}. Names are only looked up, never paths; only uncompressed records are taken."""
    try:
        entries = zipfile.ZipFile(content).infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"the zip archive is damaged or incomplete ({error})") from error
    records = {}
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise ValueError(f"its record {entry.filename!r} is compressed or encrypted, which torch.save never does")
        header = content[entry.header_offset : entry.header_offset + 30] if entry.header_offset >= 0 else b""
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise ValueError(f"its record {entry.filename!r} is not where the archive says")
        _, name_length, extra_length = ZIP_LOCAL_HEADER.unpack(header)
        start = entry.header_offset + 30 + name_length + extra_length
        if start + entry.file_size > len(content):
            raise ValueError(f"its record {entry.filename!r} reaches beyond the end of the file")
        if entry.filename in records:
            raise ValueError(f"its record {entry.filename!r} is there twice")
        view = memoryview(content)[start : start + entry.file_size]
        records[entry.filename] = tensors.Record(entry.filename, view, entry.CRC)
    return records


def _read_legacy(content):
    try:
        magic = pickles.read(content, tensors.call)
    except ValueError:
        magic = None
    if isinstance(magic, (dict, pickles.Unknown)):
        return magic  # of Python's own pickle.dump, as people write arrays of numpy's
    if type(magic) is not int or magic != LEGACY_MAGIC:
        raise ValueError(f"it begins with {content[:16]!r}; is the download complete, and really a .pth file?")
    protocol = pickles.read(content, tensors.call)
    if protocol != LEGACY_PROTOCOL:
        raise ValueError(f"it is of protocol {protocol!r}, only {LEGACY_PROTOCOL} is known")
    system = pickles.read(content, tensors.call)
    tensors.check_byte_order(system)
    storages = {}

    def persistent(identifier):
        storage, key = tensors.storage_of(identifier)
        if not storage:  # the class of a module that was saved whole, with its source; or something unknown
            is_class = isinstance(identifier, tuple) and identifier[:1] == ("module",) and len(identifier) > 1
            return identifier[1] if is_class else pickles.Unknown("storage")
        known = storages.setdefault(key, storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise ValueError(f"its storage {key!r} is named with two types or sizes")
        view = identifier[5] if len(identifier) > 5 else None
        return known if view is None else tensors.View(known, *tensors.integers(view[1:3]))

    value = pickles.read(content, tensors.call, persistent)
    keys = pickles.read(content, tensors.call)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise ValueError("its list of storages does not fit its tensors")
    position = content.tell()
    for key in keys:
        storage = storages[key]
        end = position + 8 + storage.count * storage.dtype.itemsize
        count = int.from_bytes(content[position : position + 8], "little")
        if end > len(content) or count != storage.count:
            raise ValueError(f"its storage {key!r} is cut off or of another size: is the download complete?")
        storage.record = tensors.Record(key, memoryview(content)[position + 8 : end])
        position = end
    return value
