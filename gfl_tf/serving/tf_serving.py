"""Settings of TensorFlow Serving that fit an exported model, as the text protos that the server reads.

batching_params.pbtxt                for --enable_per_model_batching_parameters, which looks for it beside
                                     saved_model.pb, or for --batching_parameters_file
assets.extra/monitoring_config.txt   for --monitoring_config_file
"""

import collections.abc
import os
import pathlib

BATCHING_PATH = "batching_params.pbtxt"
MONITORING_PATH = "assets.extra/monitoring_config.txt"
# How many images a run of the model may have; a request with more is refused. Each number is there, as a batch between
# two sizes is filled up with copies of an image, which cost as much as images do.
BATCH_SIZES = (1, 2, 3, 4)

_BATCHING = """\
# How TensorFlow Serving merges requests. Either each model by its own file of this kind:
#     --enable_batching --enable_per_model_batching_parameters
# or all models by this one, and with its num_batch_threads, which counts for the server as a whole:
#     --enable_batching --batching_parameters_file=.../batching_params.pbtxt
# A merged batch is filled up to the next of these sizes with copies of an image, which are computed like the others.
{allowed_batch_sizes}
max_batch_size {{ value: {max_batch_size} }}
# Batches that run at once: each needs the memory of its images.
num_batch_threads {{ value: 2 }}
# How long the first request of a batch waits for others. 0: only while all threads are busy.
batch_timeout_micros {{ value: 0 }}
# Full batches that may wait; beyond that, requests are refused.
max_enqueued_batches {{ value: 8 }}
# Not for images: `image_tensor` would take the added border for part of the image.
pad_variable_length_inputs: false
"""

_MONITORING = """\
# TensorFlow Serving's counters and latencies at http://HOST:8501/monitoring/prometheus/metrics
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def write(version_dir: str | os.PathLike, batch_sizes: collections.abc.Sequence[int] = BATCH_SIZES) -> None:
    """Writes both files.

    Args:
        version_dir: folder of the SavedModel.
        batch_sizes: ascending; the last is the largest batch, and the largest request.

    Raises:
        ValueError: batch sizes that TensorFlow Serving refuses.
    """
    sizes = list(batch_sizes)
    if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)):
        raise ValueError(f"batch_sizes is {sizes}; give numbers from 1 on, each larger than the one before")
    directory = pathlib.Path(version_dir)
    batching = _BATCHING.format(
        allowed_batch_sizes="\n".join(f"allowed_batch_sizes: {size}" for size in sizes),
        max_batch_size=sizes[-1],  # the server insists that it is the last of the allowed ones
    )
    (directory / BATCHING_PATH).write_text(batching)
    (directory / MONITORING_PATH).parent.mkdir(exist_ok=True)
    (directory / MONITORING_PATH).write_text(_MONITORING)
