"""A detector as functions from images to detections, for a SavedModel that needs TensorFlow alone."""

import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import images as image_ops
from gfl_tf.serving import decode
from gfl_tf.serving.freeze import frozen

ON_BAD_IMAGE = ("error", "report")
MAX_PIXELS = 1 << 26  # 192 MiB decoded; a progressive JPEG takes three times that while it is
# Rows that a request may ask for at most, where the export itself has not more.
MAX_DETECTIONS_PER_REQUEST = 1000


def trace(model, scale, class_names, decoder, on_bad_image="error", max_pixels=MAX_PIXELS, freeze=False, canvas=None):
    """The served functions: everything from encoded images to boxes in their own pixels.

    Args:
        model: a detector.
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        class_names: C names.
        decoder: `PredictionDecoder` in place of the model's.
        on_bad_image: one of `ON_BAD_IMAGE`, what happens with an image that cannot be decoded. "error": the request
            fails, and the message names the image. "report": the image answers with no detections and a status that
            says why, and the others of the request with theirs.
        max_pixels: larger images are refused before their pixels are allocated.
        freeze: the weights of the network are constants of the graph instead of variables beside it.
        canvas: (height, width), multiples of 32: the network gets nothing but canvases of this size, each with an image
            in its top left corner, made smaller than `scale` says where it would not fit. Encoded images then pass the
            network together, as a batch. None: each image has its own size there, and passes it alone.

    Returns (signatures, stages), two dicts of concrete functions. Signatures, B being the batch:
        serving_default: of "image_bytes", string [B], encoded JPEG, PNG, BMP or GIF (first frame) images of any sizes.
        image_tensor: of "image_tensor", uint8 [B, h, w, 3], RGB.
        image_bytes_with_options: of "image_bytes" and, for each image, "score_threshold", float32 [B], and
            "max_detections", int32 [B], at most `MAX_DETECTIONS_PER_REQUEST` or the decoder's. The threshold is that of
            `PredictionDecoder`: of scores before NMS, which soft-NMS lowers afterwards.

    They return the served tensors of `gfl_tf.detections`, in pixels of the original image, D being the decoder's
    `max_detections` or the largest of the request's, and "status", string [B]: "ok" or why an image has no detections;
    not of image_tensor.

    The stages are what the signatures consist of, for one image and for looking at each alone:
        decode: string [] -> "image" uint8 [h, w, 3], "status" string [].
        resize: uint8 [B, h, w, 3] -> float32 [B, h', w', 3], the network's input.
        network: float32 [B, h', w', 3] -> raw outputs.
        detections: raw outputs, and int32 [2] height and width each of the original images and of the network's input
            -> the outputs of image_tensor.
    """
    stages = _stages(model, scale, max_pixels, freeze, canvas)
    raw_outputs = stages["network"].structured_outputs

    def resized_shape(original_shape):
        return image_ops.keep_ratio_size(original_shape, scale, canvas)

    stages["detections"] = _detections(model, decoder, class_names, raw_outputs, resized_shape)
    of_encoded = _as_batch(stages, canvas) if canvas else _one_by_one(stages)

    def detect_all(image_bytes, decode_outputs, *options):
        outputs = of_encoded(image_bytes, decode_outputs, *options)
        return outputs if on_bad_image == "report" else _fail_unless_ok(outputs)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def from_bytes(image_bytes):
        return detect_all(image_bytes, stages["detections"])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="image_tensor")])
    def from_tensor(image_tensor):
        # Some kernels of the network refuse an empty batch.
        return tf.cond(
            tf.shape(image_tensor)[0] > 0,
            lambda: _detect(stages, image_tensor, stages["detections"]),
            lambda: _nothing(0, stages["detections"].structured_outputs),
        )

    most = max(decoder.max_detections, MAX_DETECTIONS_PER_REQUEST)
    with_options = _detections(
        model,
        decoder.changed(max_detections=most),
        class_names,
        raw_outputs,
        resized_shape,
        tf.TensorSpec([], tf.float32),
    )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.float32, name="score_threshold"),
            tf.TensorSpec([None], tf.int32, name="max_detections"),
        ]
    )
    def from_bytes_with_options(image_bytes, score_threshold, max_detections):
        check = _one_each(image_bytes=image_bytes, score_threshold=score_threshold, max_detections=max_detections)
        with tf.control_dependencies([check]):
            image_bytes = tf.identity(image_bytes)
        outputs = detect_all(image_bytes, with_options, tf.maximum(score_threshold, 0.0))
        return _first(outputs, tf.clip_by_value(max_detections, 0, most))

    signatures = {
        "serving_default": from_bytes,
        "image_tensor": from_tensor,
        "image_bytes_with_options": from_bytes_with_options,
    }
    return {name: function.get_concrete_function() for name, function in signatures.items()}, stages


def _detect(stages, images, decode_outputs, *options):
    """Outputs of images of one size, uint8 [B, h, w, 3]."""
    resized = stages["resize"](images)
    shapes = tf.shape(images)[1:3], tf.shape(resized)[1:3]
    return decode_outputs(stages["network"](resized), *shapes, *options)


def _one_by_one(stages):
    """Function of encoded images [B], the stage that decodes raw outputs, and options [B] of that: outputs and status.

    On a canvas as large as the largest of them, padding would reach the features through group normalization and deeper
    convolutions, and an image's detections would depend on its neighbours in the request.
    """

    def of_one(encoded, decode_outputs, *options):
        decoded = stages["decode"](encoded)
        found = tf.cond(
            decoded["status"] == decode.OK,
            lambda: _detect(stages, decoded["image"][tf.newaxis], decode_outputs, *options),
            lambda: _nothing(1, decode_outputs.structured_outputs),
        )
        return {**_first_image(found), "status": decoded["status"]}

    def of_all(image_bytes, decode_outputs, *options):
        return _for_each(
            lambda encoded, *options: of_one(encoded, decode_outputs, *options),
            (image_bytes, *options),
            {**decode_outputs.structured_outputs, "status": tf.TensorSpec([None], tf.string)},
            parallel_iterations=1,  # the memory of one image, and of its network
        )

    return of_all


def _as_batch(stages, canvas):
    """As `_one_by_one`, but that the images pass the network together, on canvases of one size."""

    def on_canvas(encoded):
        """Of one encoded image: canvas float32 [H, W, 3], the image's own height and width, status."""
        decoded = stages["decode"](encoded)
        image, status = decoded["image"], decoded["status"]
        image = tf.cond(status == decode.OK, lambda: image, lambda: tf.zeros([1, 1, 3], tf.uint8))
        return stages["resize"](image[tf.newaxis])[0], tf.shape(image)[:2], status

    def of_some(image_bytes, decode_outputs, *options):
        of_canvases = [(None, *canvas, 3), tf.float32], [(None, 2), tf.int32], [(None,), tf.string]
        canvases, shapes, status = _for_each(
            on_canvas, (image_bytes,), tuple(tf.TensorSpec(*each) for each in of_canvases)
        )

        def of_one(outputs, shape, *options):
            outputs = {name: value[tf.newaxis] for name, value in outputs.items()}
            return _first_image(decode_outputs(outputs, shape, tf.constant(canvas), *options))

        raw_outputs = stages["network"](canvases)
        found = _for_each(of_one, (raw_outputs, shapes, *options), decode_outputs.structured_outputs)
        nothing = _nothing(tf.size(status), found)
        is_ok = status == decode.OK
        found = {name: _where_image(is_ok, value, nothing[name]) for name, value in found.items()}
        return {**found, "status": status}

    def of_all(image_bytes, decode_outputs, *options):
        return tf.cond(
            tf.size(image_bytes) > 0,  # some kernels of the network refuse an empty batch
            lambda: of_some(image_bytes, decode_outputs, *options),
            lambda: {**_nothing(0, decode_outputs.structured_outputs), "status": tf.zeros([0], tf.string)},
        )

    return of_all


def _stages(model, scale, max_pixels, freeze, canvas):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string, name="encoded")])
    def decode_one(encoded):
        image, status = decode.decode(encoded, max_pixels)
        return {"image": image, "status": status}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def resize(images):
        resized = image_ops.resize_keep_ratio(images, scale, canvas)
        return image_ops.pad_batch(resized, canvas, model.pad_value) if canvas else resized

    @tf.function(input_signature=[tf.TensorSpec([None, *(canvas or (None, None)), 3], tf.float32, name="images")])
    def network(images):
        return model(images, training=False)

    network = network.get_concrete_function()
    return {
        "decode": decode_one.get_concrete_function(),
        "resize": resize.get_concrete_function(),
        "network": frozen(network) if freeze else network,
    }


def _detections(model, decoder, class_names, raw_outputs, resized_shape, *threshold_spec):
    """Concrete function of raw outputs, (height, width) of the originals and of the network's input and, where there is
    a spec for it, a score threshold in place of the decoder's: the outputs of image_tensor."""
    raw_spec = {name: tf.TensorSpec(spec.shape, spec.dtype) for name, spec in raw_outputs.items()}
    shape_spec = tf.TensorSpec([2], tf.int32)

    @tf.function(input_signature=[raw_spec, shape_spec, shape_spec, *threshold_spec])
    def decode_outputs(outputs, original_shape, input_shape, *threshold):
        used = decoder.changed(score_threshold=threshold[0]) if threshold else decoder
        image_shape = resized_shape(original_shape)
        found = used.suppress(model.candidates(outputs, input_shape, image_shape[tf.newaxis], decoder=used))
        return detections.to_served(detections.to_original(found, original_shape, image_shape), class_names)

    return decode_outputs.get_concrete_function()


def _for_each(function, items, of_batch, parallel_iterations=None):
    """`function` of each item's tensors, whose outputs together have the specs `of_batch`, B first."""
    return tf.map_fn(
        lambda item: function(*item),
        items,
        parallel_iterations=parallel_iterations,
        fn_output_signature=tf.nest.map_structure(lambda spec: tf.TensorSpec(spec.shape[1:], spec.dtype), of_batch),
    )


def _first_image(outputs):
    return {name: value[0] for name, value in outputs.items()}


def _where_image(condition, values, others):
    """`values` of the images where `condition` [B] is true, else `others`."""
    return tf.where(tf.reshape(condition, [-1, *[1] * (values.shape.rank - 1)]), values, others)


def _nothing(batch, specs):
    """Outputs of these specs that are padding alone."""
    return {name: tf.fill([batch, *spec.shape[1:]], _padding(name, spec.dtype)) for name, spec in specs.items()}


def _padding(name, dtype):
    return tf.constant(detections.served_padding(name, dtype), dtype)


def _one_each(**inputs):
    """An assertion that inputs [B] have the same B."""
    sizes = [tf.size(value) for value in inputs.values()]
    numbers = tf.strings.reduce_join(tf.strings.as_string(sizes), separator=", ")
    message = tf.strings.join([", ".join(inputs), " have ", numbers, " items: give each image its own"])
    return tf.debugging.Assert(tf.reduce_all(tf.equal(sizes, sizes[0])), [message], summarize=1)


def _fail_unless_ok(outputs):
    bad = tf.where(outputs["status"] != decode.OK)[:, 0]
    each = tf.strings.join(["image_bytes[", tf.strings.as_string(bad), "]: ", tf.gather(outputs["status"], bad)])
    check = tf.debugging.Assert(tf.size(bad) == 0, [tf.strings.reduce_join(each, separator="; ")], summarize=1)
    with tf.control_dependencies([check]):
        return {name: tf.identity(value) for name, value in outputs.items()}


def _first(outputs, max_detections):
    """At most the first `max_detections`, int32 [B], of each image; as many rows as the largest of them."""
    rows = tf.reduce_max(tf.concat([max_detections, [0]], axis=0))
    counts = tf.minimum(outputs["num_detections"], max_detections)
    is_kept = tf.sequence_mask(counts, rows)  # [B, rows]
    first = {}
    for name, value in outputs.items():
        if value.shape.rank == 1:
            first[name] = value
            continue
        padding = _padding(name, value.dtype)
        mask = is_kept[(..., *[tf.newaxis] * (value.shape.rank - 2))]
        first[name] = tf.where(mask, value[:, :rows], padding)
    return {**first, "num_detections": counts}
