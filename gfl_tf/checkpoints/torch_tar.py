"""Reads the tar archives that PyTorch wrote before 0.1.10; torchvision's first ResNets still have this format.

Python's `tarfile` follows whatever sizes a header gives; the four plain members that there are need less.
"""

import struct

from gfl_tf.checkpoints import pickles, tensors

BLOCK = 512
REGULAR = (b"0", b"\0")


def read(content):
    """The object in a mapped file; otherwise as `torch_file.read`.

    Raises:
        ValueError: it is damaged, or not of torch.save.
    """
    members = _members(content)
    missing = [name for name in ("sys_info", "storages", "tensors", "pickle") if name not in members]
    if missing:
        raise ValueError(f"it is a tar archive, but not one of torch.save: it has no {', '.join(missing)}")
    content.seek(members["sys_info"])
    tensors.check_byte_order(pickles.read(content, tensors.call))
    try:
        storages = _storages(content, members["storages"])
        found = _tensors(content, members["tensors"], storages)
    except (KeyError, TypeError) as error:
        raise ValueError(f"its tables of storages and tensors are damaged ({error!r})") from error
    content.seek(members["pickle"])
    return pickles.read(
        content, tensors.call, lambda identifier: found.get(str(identifier), pickles.Unknown("storage"))
    )


def _members(content):
    """{name: position of its content}"""
    members, position = {}, 0
    while position + BLOCK <= len(content) and content[position]:
        header = content[position : position + BLOCK]
        size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        start = position + BLOCK
        if size < 0 or start + size > len(content):
            raise ValueError("a member of its tar archive is cut off: is the download complete?")
        if header[156:157] in REGULAR:
            members[header[:100].rstrip(b"\0").decode("ascii", "replace")] = start
        position = start + -(-size // BLOCK) * BLOCK
    return members


def _storages(content, position):
    """{key: Storage or View}"""
    content.seek(position)
    storages = {}
    for _ in range(_count(content)):
        key, _, kind = _triple(content)
        dtype = tensors.dtype_of(kind)
        if dtype is None:
            raise ValueError("it has a storage of an unknown type")
        (count,) = _unpack(content, "<q")
        start = content.tell()
        if count < 0 or start + count * dtype.itemsize > len(content):
            raise ValueError("a storage of it is cut off: is the download complete?")
        content.seek(start + count * dtype.itemsize)
        storages[str(key)] = tensors.Storage(
            dtype, count, tensors.Record(str(key), memoryview(content)[start : content.tell()])
        )
    views = {}
    for target, root, offset, count in pickles.read(content, tensors.call):
        views[str(target)] = tensors.View(storages[str(root)], *tensors.integers([offset, count]))
    return {**storages, **views}


def _tensors(content, position, storages):
    """{key: Tensor}"""
    content.seek(position)
    found = {}
    for _ in range(_count(content)):
        key, storage, _ = _triple(content)
        (axes,) = _unpack(content, "<i4x")
        if not 0 <= axes <= len(content):
            raise ValueError("a tensor of it has no sensible number of axes")
        shape, strides = _unpack(content, f"<{axes}q"), _unpack(content, f"<{axes}q")
        (offset,) = _unpack(content, "<q")
        found[str(key)] = tensors.Tensor(storages[str(storage)], offset, shape, strides)
    return found


def _count(content):
    count = pickles.read(content, tensors.call)
    if type(count) is not int:
        raise ValueError("a count in it is no number")
    return count


def _triple(content):
    values = pickles.read(content, tensors.call)
    if not isinstance(values, tuple) or len(values) != 3:
        raise ValueError("it lacks the tuple of 3 that describes a storage or tensor")
    return values


def _unpack(content, form):
    values = content.read(struct.calcsize(form))
    if len(values) < struct.calcsize(form):
        raise ValueError("it is cut off: is the download complete?")
    return struct.unpack(form, values)
