"""Answers requests through tf.saved_model.load, as a Python program does."""

import command_line
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2


def open_model(path):
    only_core_ops(path)
    loaded = tf.saved_model.load(path)

    def answer(signature_name, inputs):
        signature = loaded.signatures[signature_name]
        _, specs = signature.structured_input_signature
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in signature(**tensors).items()}

    return answer


def only_core_ops(path):
    """Raises ValueError if the model has ops that plain TensorFlow has not."""
    with open(f"{path}/saved_model.pb", "rb") as file:
        (meta_graph,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    library = meta_graph.graph_def.library.function
    ops = {node.op for nodes in (meta_graph.graph_def.node, *(f.node_def for f in library)) for node in nodes}
    unknown = {op for op in ops if not hasattr(tf.raw_ops, op)} - {f.signature.name for f in library}
    if unknown or len(ops) < 10:
        raise ValueError(f"{path} has ops that TensorFlow alone has not: {sorted(unknown)}; all: {sorted(ops)}")


command_line.main(open_model)
