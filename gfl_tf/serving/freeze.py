"""A function whose weights are constants of its graph, for runtimes and converters that know no variables."""

import tensorflow as tf


def frozen(function):
    """A concrete function of the same inputs and outputs that holds its variables' present values.

    However many functions call it, a SavedModel stores these values once. Its file saved_model.pb, which they are then
    part of, is limited to 2 GB.

    Args:
        function: a concrete function of tensors. It may only read its variables, and that in its own graph and not in
            those of functions that it calls.

    Raises:
        ValueError: it uses a variable in another way.
    """
    num_arguments = len(function.inputs) - len(function.captured_inputs)
    arguments = [tensor.name for tensor in function.inputs[:num_arguments]]
    handles = {id(variable.handle): variable for variable in function.variables}
    values, resources = {}, {}  # what stands behind the graph's captured inputs, by the name of the input's node
    for tensor, captured in zip(function.inputs[num_arguments:], function.captured_inputs):
        value = handles[id(captured)].read_value() if id(captured) in handles else captured
        (resources if value.dtype == tf.resource else values)[tensor.op.name] = value
    graph_def = _with_constants(function.graph.as_graph_def(), values)
    results = [tensor.name for tensor in function.outputs]

    def constant(*args, **kwargs):
        inputs = dict(zip(arguments, tf.nest.flatten((args, kwargs))))
        inputs.update({f"{name}:0": tf.identity(resource) for name, resource in resources.items()})
        outputs = tf.graph_util.import_graph_def(graph_def, inputs, results)
        return tf.nest.pack_sequence_as(function.structured_outputs, outputs)

    args, kwargs = function.structured_input_signature
    return tf.function(constant, autograph=False).get_concrete_function(*args, **kwargs)


def _with_constants(graph_def, values):
    """The graph with captured inputs replaced by their values, for those that read them as variables, too."""
    result = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    # Gradients of operations that define their own: a SavedModel would hold them too, and cannot for imported graphs.
    for nodes in (graph_def.node, *(called.node_def for called in result.library.function)):
        for node in nodes:
            node.attr.pop("_gradient_op_type", None)
    constant_of = {
        node.name: node.input[0] for node in graph_def.node if node.op == "ReadVariableOp" and node.input[0] in values
    }
    is_handle = {name: False for name in values}
    for node in graph_def.node:
        if node.name in values:
            is_handle[node.name] = node.attr["dtype"].type == tf.resource.as_datatype_enum
            result.node.append(_constant(node.name, values[node.name]))
        elif node.name not in constant_of:
            result.node.append(node)
    for node in result.node:
        wrong = [name for name in node.input if is_handle.get(name)]
        if wrong:
            raise ValueError(
                f"{node.name} ({node.op}) uses a variable, {wrong[0]}, other than by reading it: pass the value to it"
            )
        node.input[:] = [_redirected(name, constant_of) for name in node.input]
    return result


def _constant(name, value):
    value = tf.make_tensor_proto(value)
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = value.dtype
    node.attr["value"].tensor.CopyFrom(value)
    return node


def _redirected(name, constant_of):
    """An input of a node: "node", "node:1", or "^node" for one that only comes earlier."""
    if name.startswith("^"):
        return "^" + constant_of.get(name[1:], name[1:])
    return constant_of.get(name, name)
