"""Answers requests through the C API of the TensorFlow library, as programs in C, Go, Rust or Java do.

Nothing of the Python package tensorflow is imported: only the library in its folder is loaded. The names of a
signature's tensors are read from the MetaGraphDef that the library returns.
"""

import ctypes
import importlib.util
import os
import sys

import command_line
import numpy as np

Pointer, Text, Size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
STRING = 7  # of tensorflow/core/framework/types.proto
TYPES = {1: np.float32, 3: np.int32, 4: np.uint8}
STRING_SIZE = 24  # of TF_TString


class Buffer(ctypes.Structure):
    _fields_ = [("data", Pointer), ("length", Size), ("deallocator", Pointer)]


class Output(ctypes.Structure):
    _fields_ = [("operation", Pointer), ("index", ctypes.c_int)]


Outputs, Pointers = ctypes.POINTER(Output), ctypes.POINTER(Pointer)
FUNCTIONS = {  # name: (result, arguments)
    "TF_NewStatus": (Pointer, []),
    "TF_GetCode": (ctypes.c_int, [Pointer]),
    "TF_Message": (Text, [Pointer]),
    "TF_NewGraph": (Pointer, []),
    "TF_NewSessionOptions": (Pointer, []),
    "TF_NewBuffer": (ctypes.POINTER(Buffer), []),
    "TF_LoadSessionFromSavedModel": (
        Pointer,
        [Pointer, Pointer, Text, ctypes.POINTER(Text), ctypes.c_int, Pointer, Pointer, Pointer],
    ),
    "TF_GraphOperationByName": (Pointer, [Pointer, Text]),
    "TF_SessionRun": (
        None,
        [Pointer, Pointer] + [Outputs, Pointers, ctypes.c_int] * 2 + [Pointers, ctypes.c_int, Pointer, Pointer],
    ),
    "TF_AllocateTensor": (Pointer, [ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_int, Size]),
    "TF_DeleteTensor": (None, [Pointer]),
    "TF_TensorData": (Pointer, [Pointer]),
    "TF_TensorByteSize": (Size, [Pointer]),
    "TF_TensorType": (ctypes.c_int, [Pointer]),
    "TF_NumDims": (ctypes.c_int, [Pointer]),
    "TF_Dim": (ctypes.c_int64, [Pointer, ctypes.c_int]),
    "TF_StringInit": (None, [Pointer]),
    "TF_StringCopy": (None, [Pointer, Text, Size]),
    "TF_StringDealloc": (None, [Pointer]),
    "TF_StringGetDataPointer": (Pointer, [Pointer]),
    "TF_StringGetSize": (Size, [Pointer]),
}


def load_library():
    (folder,) = importlib.util.find_spec("tensorflow").submodule_search_locations
    library = ctypes.CDLL(os.path.join(folder, "libtensorflow_cc.so.2"))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


tf = load_library()


def check(status):
    if tf.TF_GetCode(status):
        raise RuntimeError(tf.TF_Message(status).decode())


def open_model(path):
    graph, status, meta_graph = tf.TF_NewGraph(), tf.TF_NewStatus(), tf.TF_NewBuffer()
    tags = (Text * 1)(b"serve")
    options = tf.TF_NewSessionOptions()
    session = tf.TF_LoadSessionFromSavedModel(options, None, path.encode(), tags, 1, graph, meta_graph, status)
    check(status)
    signatures = read_signatures(ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length))

    def endpoints(names):
        parts = [name.rsplit(":", 1) for name in names]
        return (Output * len(parts))(
            *(Output(tf.TF_GraphOperationByName(graph, operation.encode()), int(index)) for operation, index in parts)
        )

    def answer(signature_name, inputs):
        signature = signatures[signature_name]
        infos = [signature["inputs"][name] for name in inputs]
        feeds = (Pointer * len(infos))(*map(new_tensor, inputs.values(), (info["type"] for info in infos)))
        names = sorted(signature["outputs"])
        fetched = (Pointer * len(names))()
        sources = endpoints([info["name"] for info in infos])
        targets = endpoints([signature["outputs"][name]["name"] for name in names])
        tf.TF_SessionRun(
            session, None, sources, feeds, len(feeds), targets, fetched, len(fetched), None, 0, None, status
        )
        for tensor in feeds:
            delete(tensor)
        check(status)
        outputs = {name: to_array(tensor) for name, tensor in zip(names, fetched)}
        for tensor in fetched:
            delete(tensor)
        return outputs

    return answer


def strings(tensor):
    """The addresses of a tensor's strings."""
    start = tf.TF_TensorData(tensor) or 0
    return range(start, start + tf.TF_TensorByteSize(tensor), STRING_SIZE)


def new_tensor(value, data_type):
    array = np.array(value, object if data_type == STRING else TYPES[data_type])
    size = array.size * STRING_SIZE if data_type == STRING else array.nbytes
    tensor = tf.TF_AllocateTensor(data_type, (ctypes.c_int64 * array.ndim)(*array.shape), array.ndim, size)
    if data_type == STRING:
        for address, item in zip(strings(tensor), array.flat):
            tf.TF_StringInit(address)
            tf.TF_StringCopy(address, item, len(item))
    else:
        ctypes.memmove(tf.TF_TensorData(tensor), array.tobytes(), size)
    return tensor


def to_array(tensor):
    shape = [tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))]
    data_type = tf.TF_TensorType(tensor)
    if data_type == STRING:
        items = [
            ctypes.string_at(tf.TF_StringGetDataPointer(address), tf.TF_StringGetSize(address))
            for address in strings(tensor)
        ]
        return np.array(items, object).reshape(shape)
    data = ctypes.string_at(tf.TF_TensorData(tensor), tf.TF_TensorByteSize(tensor))
    return np.frombuffer(data, TYPES[data_type]).reshape(shape)


def delete(tensor):
    if tf.TF_TensorType(tensor) == STRING:
        for address in strings(tensor):
            tf.TF_StringDealloc(address)
    tf.TF_DeleteTensor(tensor)


def read_signatures(meta_graph):
    """{signature: {"inputs": {name: {"name": of the tensor, "type": number}}, "outputs": the same}}."""
    return {
        key: {"inputs": tensors(signature, 1), "outputs": tensors(signature, 2)}
        for key, signature in entries(meta_graph, 5)
    }


def tensors(signature, number):
    return {key: read_tensor(dict(fields(info))) for key, info in entries(signature, number)}


def read_tensor(info):
    return {"name": info[1].decode(), "type": info.get(2)}  # the operation that restores the weights has no type


def entries(message, number):
    """(key, value) of the protocol buffer map that has this field number."""
    for field, entry in fields(message):
        if field == number:
            pair = dict(fields(entry))
            yield pair[1].decode(), pair[2]


def fields(message):
    """(number, value) of a protocol buffer's fields: integers, and bytes of strings and messages."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        length = {1: 8, 2: None, 5: 4}[kind]
        length = varint() if length is None else length
        yield number, message[position : position + length]
        position += length


command_line.main(open_model)
assert "tensorflow" not in sys.modules
