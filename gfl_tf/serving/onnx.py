"""A detector as an ONNX model: everything from pixels of any size to boxes in these, without TensorFlow."""

import collections.abc
import json
import logging
import string
import typing

import tensorflow as tf

from gfl_tf import detections, quiet
from gfl_tf.data import images as image_ops
from gfl_tf.layers import deformable
from gfl_tf.ops import sampling
from gfl_tf.serving.freeze import frozen

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.decoder import PredictionDecoder
    from gfl_tf.detectors.detector import Detector


OPSET = 17
# Of the functions that a model brings along: deformable convolution is no operation of this opset.
DOMAIN = "gfl_tf"


def convert(
    model: "Detector",
    scale: tuple[int, int],
    class_names: collections.abc.Sequence[str],
    decoder: "PredictionDecoder | None" = None,
) -> bytes:
    """The content of an .onnx file, bytes, with the input and outputs of the SavedModel's signature "image_tensor".

    It needs operations of ONNX alone, and computes in float32. Decoding JPEG or PNG is up to the application. Of
    detections with equal scores, another one may come first, or be kept, than in TensorFlow.

    Input:
        image_tensor: uint8 [B, h, w, 3], RGB: one or more images of any one size.

    Outputs: the served tensors of `gfl_tf.detections` without the classes' names, in pixels of the input, D being the
    decoder's `max_detections`.

    The model's metadata has "class_names" and "scale", lists as JSON.

    Args:
        model: a detector that computes in float32; see `network.serving_model` for a faster one.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        class_names: C names.
        decoder: `PredictionDecoder` in place of the model's.

    Raises:
        ImportError: tf2onnx is not installed.
        ValueError: the model computes in another type than float32, or tf2onnx does not know one of its operations.
    """
    try:
        import onnx  # with tf2onnx, not needed by other formats
        import tf2onnx
    except ImportError as error:
        raise ImportError('an export to ONNX needs tf2onnx; in the checkout: pip install ".[onnx]"') from error
    detect = frozen(_detect(model, scale, decoder or model.prediction_decoder))
    graph_def = _with_constants(detect)
    _check_is_float32(graph_def)
    _keep_whole(graph_def)
    functions = {}  # FunctionProto by what it was made for
    inputs = {detect.inputs[0].name: "image_tensor"}
    outputs = {tensor.name: name for name, tensor in detect.structured_outputs.items()}
    # Remarks on what tf2onnx does not optimize, and TensorFlow's on the functions that it uses.
    with quiet.loggers("tf2onnx", "tensorflow", level=logging.CRITICAL):
        proto, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            name="detector",
            input_names=list(inputs),
            output_names=list(outputs),
            tensors_to_rename={**inputs, **outputs},
            opset=OPSET,
            extra_opset=[onnx.helper.make_opsetid(DOMAIN, 1)],
            custom_op_handlers={
                "FloorDiv": (_floor_div, []),
                "FloorMod": (_floor_mod, []),
                "PartitionedCall": (_deformable_conv2d, [None, functions]),  # None: to no operation of another name
            },
        )
    proto.functions.extend(functions.values())
    _name_axes(proto.graph)
    _copy_what_bodies_pass_on(proto.graph)
    metadata = {"class_names": list(class_names), "scale": [int(limit) for limit in scale]}
    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in metadata.items()})
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"tf2onnx does not know a part of {type(model).__name__}: {error}") from error
    return proto.SerializeToString()


def _detect(model, scale, decoder):
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")], autograph=False)
    def detect(image_tensor):
        # To float32 here, as what tf2onnx makes of a resize returns the type that it is given, TensorFlow float32.
        resized = image_ops.resize_keep_ratio(tf.cast(image_tensor, tf.float32), scale)
        original_shape, resized_shape = tf.shape(image_tensor)[1:3], tf.shape(resized)[1:3]
        found = decoder.suppress(model.candidates(model(resized, training=False), resized_shape, decoder=decoder))
        # The names are part of the metadata.
        return detections.to_served(detections.to_original(found, original_shape, resized_shape))

    return detect.get_concrete_function()


def _with_constants(function):
    """The GraphDef of a concrete function that captures constants, with these written into it."""
    graph_def = function.graph.as_graph_def(add_shapes=True)
    captured = function.captured_inputs
    values = {tensor.op.name: value for tensor, value in zip(function.inputs[-len(captured) :], captured)}
    for node in graph_def.node:
        if node.name in values:
            constant = tf.make_tensor_proto(values[node.name].numpy())
            node.op = "Const"
            node.attr.clear()
            node.attr["dtype"].type = constant.dtype
            node.attr["value"].tensor.CopyFrom(constant)
    return graph_def


def _check_is_float32(graph_def):
    types = {tf.dtypes.as_dtype(node.attr["T"].type) for node in graph_def.node if node.op == "Conv2D"}
    others = sorted(dtype.name for dtype in types - {tf.float32})
    if others:
        raise ValueError(f"the detector computes in {others[0]}; an export to ONNX needs one that computes in float32")


def _keep_whole(graph_def):
    """Keeps TensorFlow's optimizer, which tf2onnx runs first, from taking apart what is converted as a whole."""
    for function in graph_def.library.function:
        if deformable.traced_options(function.signature.name):
            function.attr["_noinline"].b = True
            function.attr["_nospecialize"].b = True  # or the kernel moves from the call into the function
    nodes = [node for function in graph_def.library.function for node in function.node_def]
    for node in [*graph_def.node, *nodes]:
        node.attr.pop("_lower_using_switch_merge", None)  # of loops


def _name_axes(graph):
    """What can be of any size in input and outputs, by name: the batch is the same of all."""
    for value in (*graph.input, *graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, ("batch", "height", "width")):
            if axis.dim_param:
                axis.dim_param = name


def _copy_what_bodies_pass_on(graph):
    """In loops and conditions: an input that is an output, too, becomes one by way of an operation.

    OpenVINO 2026 refuses others (issue 35874 of openvinotoolkit/openvino).
    """
    import onnx

    bodies = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    for body in bodies:
        inputs = {value.name for value in body.input}
        for value in body.output:
            if value.name in inputs:
                copy = f"{value.name}_passed_on"
                body.node.append(onnx.helper.make_node("Identity", [value.name], [copy]))
                value.name = copy
        _copy_what_bodies_pass_on(body)


# Handlers of tf2onnx, which change `node` in `context`, the graph.


def _floor_div(context, node, name, arguments):
    """x // y of integers; tf2onnx's own rounds towards zero."""
    x, y = node.input
    rest = context.make_node("Mod", [x, y]).output[0]
    multiple = context.make_node("Sub", [x, rest]).output[0]
    _replace(context, node, "Div", [multiple, y])


def _floor_mod(context, node, name, arguments):
    """x % y of integers, with the sign of y; tf2onnx's own has the sign of x."""
    _replace(context, node, "Mod", list(node.input))


def _deformable_conv2d(context, node, name, arguments):
    """A call of `layers.deformable.deformable_conv2d` to one of an ONNX function, which is added to `arguments[0]`."""
    import numpy as np

    (functions,) = arguments
    options = deformable.traced_options(node.get_attr_value("f").decode())
    if not options:
        return  # the check of the model will name it
    inputs, offsets, kernel, *mask = node.input
    if not mask:
        points = context.get_shape(offsets)[-1] // 2
        mask = [context.make_const(f"{node.name}/mask", np.ones([1, 1, 1, points], np.float32)).output[0]]
    key = (options, *context.get_shape(kernel))
    if key not in functions:
        functions[key] = _deformable_function(f"DeformableConv2D_{len(functions)}", context.get_shape(kernel), options)
    _replace(context, node, functions[key].name, [inputs, offsets, kernel, *mask], domain=DOMAIN)


def _replace(context, node, kind, inputs, **options):
    shapes, dtypes = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    context.make_node(kind, inputs, name=node.name, outputs=node.output, shapes=shapes, dtypes=dtypes, **options)


def _deformable_function(name, kernel_shape, options):
    """FunctionProto of the deformable convolution with these `deformable.Options`."""
    import onnx

    (sy, sx), (py, px), (dy, dx), groups, deformable_groups = options
    height, width, group_channels, filters = kernel_shape
    depth = height * width * group_channels
    kernel_points = [(dy * y - py, dx * x - px) for y in range(height) for x in range(width)]
    text = string.Template(_DEFORMABLE).substitute(
        name=name,
        domain=DOMAIN,
        opset=OPSET,
        sy=sy,
        sx=sx,
        kernel_points=", ".join(f"{y}, {x}" for y, x in kernel_points),
        points=height * width,
        parts=deformable_groups,
        part_channels=group_channels * groups // deformable_groups,
        groups=groups,
        group_channels=group_channels,
        depth=depth,
        filters=filters,
        group_filters=filters // groups,
        most_at_a_time=max(sampling.CPU_STEP_BYTES // (4 * groups * depth * 4), 1),
    )
    return onnx.parser.parse_function(text)


# In ONNX's own notation. Shapes: B images, H x W cells, Ho x Wo outputs, P kernel points, D deformable groups ("parts"
# of the channels), G groups. In a Reshape, 0 keeps a dimension. Outputs are computed some at a time, as in
# `ops.sampling`: what is gathered for these stays in the cache; for all at once it takes 0.6 GB at P3 of 800 x 1344.
_DEFORMABLE = """
<domain: "$domain", opset_import: ["" : $opset]>
$name (x, offsets, kernel, mask) => (y)
{
    zero = Constant <value_int = 0> ()
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    last = Constant <value_ints = [-1]> ()
    second_last = Constant <value_ints = [-2]> ()

    # Where the kernel's points lie, [B, Ho, Wo, P, D, 2 (y, x)]; where that is outside, in the ring of zeros.
    out_height_1 = Shape <start = 1, end = 2> (offsets)
    out_height = Squeeze (out_height_1)
    out_width_1 = Shape <start = 2, end = 3> (offsets)
    out_width = Squeeze (out_width_1)
    rows = Range (zero, out_height, one)
    columns = Range (zero, out_width, one)
    row_axes = Constant <value_ints = [1, 2, 3, 4]> ()
    column_axes = Constant <value_ints = [1, 2, 3]> ()
    rows_5d = Unsqueeze (rows, row_axes)
    columns_4d = Unsqueeze (columns, column_axes)
    row_stride = Constant <value_ints = [$sy, 0]> ()
    column_stride = Constant <value_ints = [0, $sx]> ()
    row_starts = Mul (rows_5d, row_stride)
    column_starts = Mul (columns_4d, column_stride)
    starts = Add (row_starts, column_starts)
    flat_kernel_points = Constant <value_ints = [$kernel_points]> ()
    kernel_points_shape = Constant <value_ints = [$points, 1, 2]> ()
    kernel_points = Reshape (flat_kernel_points, kernel_points_shape)
    whole_undeformed = Add (starts, kernel_points)
    undeformed = Cast <to = 1> (whole_undeformed)
    offsets_shape = Constant <value_ints = [0, 0, 0, $parts, $points, 2]> ()
    offsets_by_part = Reshape (offsets, offsets_shape)
    offsets_by_point = Transpose <perm = [0, 1, 2, 4, 3, 5]> (offsets_by_part)
    anywhere = Add (offsets_by_point, undeformed)
    size = Shape <start = 1, end = 3> (x)
    end = Cast <to = 1> (size)
    before = Constant <value_float = -1.0> ()
    is_after_start = Greater (anywhere, before)
    is_before_end = Less (anywhere, end)
    is_inside = And (is_after_start, is_before_end)
    positions = Where (is_inside, anywhere, before)

    # Bilinear weights of the four cells around, [B, Ho, Wo, P, D, 4], times the mask.
    low = Floor (positions)
    high_weights = Sub (positions, low)
    float_one = Constant <value_float = 1.0> ()
    low_weights = Sub (float_one, high_weights)
    high_weights_7d = Unsqueeze (high_weights, second_last)
    low_weights_7d = Unsqueeze (low_weights, second_last)
    side_weights = Concat <axis = -2> (low_weights_7d, high_weights_7d)
    y_weights = Gather <axis = -1> (side_weights, zero)
    x_weights = Gather <axis = -1> (side_weights, one)
    y_weights_7d = Unsqueeze (y_weights, last)
    x_weights_7d = Unsqueeze (x_weights, second_last)
    square_weights = Mul (y_weights_7d, x_weights_7d)
    weights_shape = Constant <value_ints = [0, 0, 0, $points, $parts, 4]> ()
    bilinear_weights = Reshape (square_weights, weights_shape)
    mask_shape = Constant <value_ints = [0, 0, 0, $parts, $points, 1]> ()
    mask_by_part = Reshape (mask, mask_shape)
    mask_by_point = Transpose <perm = [0, 1, 2, 4, 3, 5]> (mask_by_part)
    weights = Mul (bilinear_weights, mask_by_point)

    # These cells' numbers in the list of all parts of all cells, with a ring of zeros around each map.
    ringed_size = Add (size, two)
    ringed_width = Gather (ringed_size, one)
    ringed_area = ReduceProd <keepdims = 0> (ringed_size)
    batch_1 = Shape <start = 0, end = 1> (x)
    batch = Squeeze (batch_1)
    images = Range (zero, batch, one)
    first_cells = Mul (images, ringed_area)
    image_axes = Constant <value_ints = [1, 2, 3, 4, 5]> ()
    first_cells_6d = Unsqueeze (first_cells, image_axes)
    ringed_width_1 = Unsqueeze (ringed_width, last)
    one_1 = Constant <value_ints = [1]> ()
    pitch = Concat <axis = 0> (ringed_width_1, one_1)
    whole_low = Cast <to = 7> (low)
    ringed_low = Add (whole_low, one)
    pitched_low = Mul (ringed_low, pitch)
    low_cells = ReduceSum <keepdims = 1> (pitched_low, last)
    cells_of_images = Add (low_cells, first_cells_6d)
    zero_1 = Constant <value_ints = [0]> ()
    next_row = Add (ringed_width_1, one_1)
    steps = Concat <axis = 0> (zero_1, one_1, ringed_width_1, next_row)
    corner_cells = Add (cells_of_images, steps)
    number_of_parts = Constant <value_int = $parts> ()
    first_parts = Mul (corner_cells, number_of_parts)
    parts = Range (zero, number_of_parts, one)
    parts_2d = Unsqueeze (parts, last)
    corners = Add (first_parts, parts_2d)

    ring = Constant <value_ints = [0, 1, 1, 0, 0, 1, 1, 0]> ()
    ringed = Pad (x, ring)
    cells_shape = Constant <value_ints = [-1, $part_channels]> ()
    cells = Reshape (ringed, cells_shape)
    kernel_shape = Constant <value_ints = [$depth, $groups, $group_filters]> ()
    kernel_by_group = Reshape (kernel, kernel_shape)
    group_kernels = Transpose <perm = [1, 0, 2]> (kernel_by_group)

    map_shape = Shape <start = 0, end = 3> (offsets)
    outputs = ReduceProd <keepdims = 0> (map_shape)
    most_at_a_time = Constant <value_int = $most_at_a_time> ()
    full_steps = Div (outputs, most_at_a_time)
    count = Add (full_steps, one)
    minus_outputs = Neg (outputs)
    fill = Mod (minus_outputs, count)
    fill_1 = Unsqueeze (fill, last)
    count_1 = Unsqueeze (count, last)
    start_fill = Constant <value_ints = [0, 0, 0, 0]> ()
    other_fill = Constant <value_ints = [0, 0, 0]> ()
    fills = Concat <axis = 0> (start_fill, fill_1, other_fill)
    list_shape = Constant <value_ints = [-1, $points, $parts, 4]> ()
    corner_list = Reshape (corners, list_shape)
    weight_list = Reshape (weights, list_shape)
    filled_corners = Pad (corner_list, fills)
    filled_weights = Pad (weight_list, fills)
    corners_end = Constant <value_ints = [-1, $points, $parts, 4]> ()
    weights_end = Constant <value_ints = [-1, $points, $parts, 1, 4]> ()
    corners_shape = Concat <axis = 0> (count_1, corners_end)
    step_weights_shape = Concat <axis = 0> (count_1, weights_end)
    corners_by_step = Reshape (filled_corners, corners_shape)
    weights_by_step = Reshape (filled_weights, step_weights_shape)
    columns_shape = Constant <value_ints = [0, $points, $groups, $group_channels]> ()
    matrix_shape = Constant <value_ints = [$groups, -1, $depth]> ()
    result_shape = Constant <value_ints = [-1, $filters]> ()
    results = Scan <num_scan_inputs = 2, body = step (
        int64[N, $points, $parts, 4] step_corners, float[N, $points, $parts, 1, 4] step_weights
    ) => (float[N, $filters] step_result) {
        values = Gather (cells, step_corners)
        sampled = MatMul (step_weights, values)
        sampled_by_group = Reshape (sampled, columns_shape)
        groups_first = Transpose <perm = [2, 0, 1, 3]> (sampled_by_group)
        matrices = Reshape (groups_first, matrix_shape)
        group_results = MatMul (matrices, group_kernels)
        groups_last = Transpose <perm = [1, 0, 2]> (group_results)
        step_result = Reshape (groups_last, result_shape)
    }> (corners_by_step, weights_by_step)
    result_list = Reshape (results, result_shape)
    outputs_1 = Unsqueeze (outputs, last)
    unfilled_results = Slice (result_list, zero_1, outputs_1, zero_1)
    filters_1 = Constant <value_ints = [$filters]> ()
    y_shape = Concat <axis = 0> (map_shape, filters_1)
    y = Reshape (unfilled_results, y_shape)
}
"""
