"""The warm-up requests of a SavedModel: TensorFlow Serving runs them before it answers the first client.

What a runtime does once per shape of image, such as choosing and preparing kernels, is then done. TensorFlow Serving
wants a TFRecord file of `PredictionLog` protos, at most 1000. A request that fails keeps the version from being loaded.
"""

import itertools
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from gfl_tf.data import images as image_ops
from gfl_tf.serving import requests, tf_serving

PATH = "assets.extra/tf_serving_warmup_requests"
MAX_RECORDS = 1000  # TensorFlow Serving loads no model with more
# (height, width) whose ratio most photographs have.
RATIOS = ((3, 4), (4, 3), (2, 3), (3, 2), (1, 1))


def pictures(scale, max_pixels):
    """One JPEG for each of `RATIOS`, in the size that the network sees it. The same at each call.

    Args:
        scale: (long, short) limits of the keep-ratio resize in front of the network.
        max_pixels: where the model takes no images of that size, they are as much smaller, and it enlarges them.

    Returns:
        list of bytes.
    """
    encoded = []
    for index, ratio in enumerate(RATIOS):
        coarse = np.random.default_rng(index).uniform(0, 255, (*np.multiply(ratio, 2), 3))
        size = image_ops.keep_ratio_size(ratio, scale).numpy()
        factor = min(1, (max_pixels / size.prod()) ** 0.5)
        picture = tf.image.resize(coarse, np.maximum(np.int32(size * factor), 1), "bicubic")
        encoded.append(tf.io.encode_jpeg(tf.saturate_cast(picture, tf.uint8), quality=75).numpy())
    return encoded


def write(version_dir, model_name, images, batch_sizes=tf_serving.BATCH_SIZES):
    """Writes one request to `serving_default` for each batch size.

    Args:
        version_dir: folder of the SavedModel.
        model_name: what TensorFlow Serving will call the model.
        images: list of bytes, encoded images; the batches take them in turn, over and over.
        batch_sizes: the server's allowed batch sizes.

    Returns:
        Path of the file.

    Raises:
        ValueError: no images, or more than `MAX_RECORDS` batch sizes.
    """
    if not images:
        raise ValueError("there are no images for the warm-up requests")
    if len(batch_sizes) > MAX_RECORDS:
        raise ValueError(f"{len(batch_sizes)} batch sizes: TensorFlow Serving allows {MAX_RECORDS} warm-up requests")
    path = pathlib.Path(version_dir) / PATH
    path.parent.mkdir(exist_ok=True)
    in_turn = itertools.cycle(images)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in batch_sizes:
            # No output_filter: a session prepares anew for other outputs than all, which is what REST asks for.
            inputs, signature_name = requests.detection_inputs(itertools.islice(in_turn, size))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(requests.predict_request(model_name, inputs, signature_name))
            writer.write(log.SerializeToString(deterministic=True))
    return path
