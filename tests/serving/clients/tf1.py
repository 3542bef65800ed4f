"""Answers requests in a graph and a session by tensor names, as TensorFlow 1 and C++ servers do."""

import command_line
import tensorflow.compat.v1 as tf


def open_model(path):
    session = tf.Session(graph=tf.Graph())
    meta_graph = tf.saved_model.loader.load(session, [tf.saved_model.tag_constants.SERVING], path)

    def answer(signature_name, inputs):
        signature = meta_graph.signature_def[signature_name]
        feed = {signature.inputs[name].name: value for name, value in inputs.items()}
        return session.run({name: tensor.name for name, tensor in signature.outputs.items()}, feed)

    return answer


command_line.main(open_model)
