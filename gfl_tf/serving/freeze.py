"""A function whose weights are constants, so that its SavedModel has no variables."""

import tensorflow as tf


def frozen(function):
    """A concrete function of the same inputs and outputs that holds its variables' present values as constants.

    The constants are captured from outside, not written into the graph of the function: however many functions call
    it, a SavedModel stores them once, and a program that loads it has them in memory once. saved_model.pb, which they
    are then part of, is limited to 2 GB.

    Args:
        function: a concrete function of tensors. It may only read its variables, and that in its own graph and not in
            those of functions that it calls.

    Raises:
        ValueError: it uses a variable in another way.
    """
    num_arguments = len(function.inputs) - len(function.captured_inputs)
    variables = {id(variable.handle): variable for variable in function.variables}
    weights, constants = {}, {}  # by the name of the node that reads a variable's handle; by that of any other tensor
    for tensor, captured in zip(function.inputs[num_arguments:], function.captured_inputs):
        if id(captured) in variables:
            weights[tensor.op.name] = variables[id(captured)].read_value()
        else:
            constants[tensor.name] = captured
    graph_def, read = _without_reads(function.graph.as_graph_def(), weights)
    constants.update(read)
    arguments = [tensor.name for tensor in function.inputs[:num_arguments]]
    results = [tensor.name for tensor in function.outputs]

    def constant(*args, **kwargs):
        inputs = dict(zip(arguments, tf.nest.flatten((args, kwargs))))
        inputs.update({name: tf.convert_to_tensor(value) for name, value in constants.items()})
        outputs = tf.graph_util.import_graph_def(graph_def, inputs, results)
        return tf.nest.pack_sequence_as(function.structured_outputs, outputs)

    args, kwargs = function.structured_input_signature
    return tf.function(constant, autograph=False).get_concrete_function(*args, **kwargs)


def _without_reads(graph_def, weights):
    """The graph without the nodes that read variables, and the tensors that it lacks now: {name: value}.

    `weights`: values by the name of the node that has the variable's handle.
    """
    reads = {
        node.name: weights[node.input[0]]
        for node in graph_def.node
        if node.op == "ReadVariableOp" and node.input[0] in weights
    }
    result = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    # Gradients of operations that define their own: a SavedModel would hold them too, and cannot for imported graphs.
    for nodes in (graph_def.node, *(called.node_def for called in result.library.function)):
        for node in nodes:
            node.attr.pop("_gradient_op_type", None)
    used = set()
    for node in graph_def.node:
        if node.name in reads or node.name in weights:
            continue
        if not weights.keys().isdisjoint(node.input):
            raise ValueError(
                f"{node.name} ({node.op}) uses a variable other than by reading it; where it calls a function, read "
                "the variable before and pass it the tensor"
            )
        # "^name" is a node that must only have run before.
        node.input[:] = [name for name in node.input if not (name[0] == "^" and name[1:] in reads)]
        used.update(node.input)
        result.node.append(node)
    return result, {f"{name}:0": value for name, value in reads.items() if name in used}
