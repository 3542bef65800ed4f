"""COCO data sets to batches: decode, resize, augment, pad.

    dataset = load_coco("train.json", "images/")
    batches = training_batches(dataset, batch_size=8, scale=(640, 512))
    model.fit(batches, steps_per_epoch=steps_per_epoch(dataset, 8), epochs=12)

A batch is (images, labels): images float32 [B, H, W, 3], RGB in 0..255, filled at the bottom and
right; labels a dict of
    boxes        float32 [B, M, 4], in the canvas; -1 where there is none
    classes      float32 [B, M], -1 where there is none
    image_shape  int32 [B, 2], height and width of the resized image in the canvas
and for evaluation also
    image_index     int64 [B], of the image in the data set
    original_shape  int32 [B, 2], height and width of the image file
"""

import collections.abc
import os
import typing

import numpy as np
import tensorflow as tf
from absl import logging

from gfl_tf.data import batching, service
from gfl_tf.data import images as image_ops
from gfl_tf.data.augmentations import Augmentations, Operation, with_resize
from gfl_tf.data.augmentations.flips import Flip
from gfl_tf.data.augmentations.resizing import resize
from gfl_tf.data.coco import CocoDataset, check_trainable
from gfl_tf.data.images import resize_keep_ratio  # noqa: F401  (part of this module's interface)
from gfl_tf.data.source import ImageSource
from gfl_tf.ops.boxes import area

BOX_FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_yxyx", "rel_xywh")
# Of operations that mix images: M of the labels, in terms of the most boxes of an image. The memory that assignment
# takes grows with M; a mosaic of the four most crowded images, uncut, would need 4.
MIXED_BOXES = 2


class _Form(typing.NamedTuple):
    """What the labels and the padding look like; see `training_batches`."""

    pad_value: tuple
    bounding_box_format: str
    max_boxes: int
    evaluation: bool = False


class _Served(typing.NamedTuple):
    """Batches of the tf.data service; see `training_batches`."""

    address: str
    start_step: int
    end_step: int


def steps_per_epoch(dataset: CocoDataset, batch_size: int, last_batch: str = "fill") -> int:
    """Batches of `training_batches` in one pass over the `CocoDataset`."""
    return batching.steps_per_epoch(len(dataset.images), batch_size, last_batch)


def training_batches(
    dataset: CocoDataset,
    batch_size: int,
    *,
    scale: tuple[int, int] = (1333, 800),
    short_side_range: tuple[int, int] | None = None,
    long_side_range: tuple[int, int] | None = None,
    num_sides: int = 6,
    augmentations: collections.abc.Sequence[Operation] = (Flip(0.5),),
    last_batch: str = "fill",
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0),
    bounding_box_format: str = "xyxy",
    max_boxes: int | None = None,
    seed: int | None = None,
    start_step: int = 0,
    mixing_until: int | None = None,
    cache: bool = False,
    input_context: tf.distribute.InputContext | None = None,
    data_service: str | None = None,
    end_step: int | None = None,
) -> tf.data.Dataset:
    """An endless `tf.data.Dataset` of training batches; see the module for their form.

    Goes into `model.fit(..., steps_per_epoch=steps_per_epoch(dataset, batch_size))` as it is, and
    through `strategy.experimental_distribute_dataset` (batch_size is then the global one, a multiple
    of the replicas). Every worker of a MultiWorkerMirroredStrategy then gets rows of its own, but
    decodes those of the others too; with `strategy.distribute_datasets_from_function(lambda context:
    training_batches(..., input_context=context))`, which `model.fit` takes as well, it does not.

    Args:
        dataset: `CocoDataset`.
        batch_size: images in a batch; every batch is whole.
        scale: (long, short) limits of the keep-ratio resize in pixels.
        short_side_range, long_side_range: (low, high): every batch draws the limit of that side
            from `num_sides` evenly spaced values, one independently of the other. None: as `scale`.
        num_sides: see there. Each value brings its own few canvases.
        augmentations: sequence of operations, see `gfl_tf.data.augmentations`, in the order in which
            they are made. () for none.
        last_batch: "fill": other images complete an epoch's last batch; "drop": the random
            remainder sits out that epoch.
        pad_value: RGB of the padding; a detector's `pad_value` becomes zero in its normalisation.
        bounding_box_format: one of KerasCV's names, such as "xyxy", "xywh", "rel_yxyx".
        max_boxes: M; by default the most boxes of any image rounded up to a multiple of 8, and
            twice that number where an operation mixes images. Of an image with more, the smallest
            in the batch are left out (logged, where images have more by themselves).
        seed: integer >= 0: the same batches every time, with the same TensorFlow. None: a random
            one, which several workers cannot have.
        start_step: skips that many batches without decoding them, as if they had been drawn: with
            the same seed an interrupted training goes on where it was.
        mixing_until: step, counted like `start_step`, from which on operations that mix images
            (mosaic, mixup, copy_paste) are made with probability 0. None: never. M stays the same.
        cache: decodes every image once, now, and keeps all of them in memory as uint8; a warning says
            where they are too many for that.
        input_context: whose part of each batch to give, in batches of one replica: the replicas of
            all input pipelines together get the batch, row by row in their order.
        data_service: HOST:PORT of a dispatcher of the tf.data service, whose workers make the batches; see
            `gfl_tf.data.service`. None: this process does. Not together with `cache`.
        end_step: with `data_service`: the step, counted like `start_step`, at which the batches end.

    Raises:
        ValueError: an argument is out of its range, or nothing can be learnt from the data set; says which.
        InvalidArgumentError: while batches are drawn; names the image file that cannot be decoded
            or whose size is not that of the annotations.
    """
    check_trainable(dataset)
    operations = with_resize(list(augmentations))
    mixes = any(operation.num_others for operation in operations)
    form = _form(dataset, pad_value, bounding_box_format, max_boxes, mixes=mixes)
    for name, step in (("start_step", start_step), ("mixing_until", mixing_until or 0)):
        if step < 0:
            raise ValueError(f"{name} is {step}; it cannot be negative.")
    input_context = input_context or tf.distribute.InputContext()
    if data_service and (cache or end_step is None or end_step <= start_step):
        raise ValueError("data_service needs cache=False and an end_step above start_step.")
    if data_service and input_context.num_input_pipelines > 1:
        raise ValueError("data_service makes the batches of one worker; there are several: leave it out.")
    if seed is None:
        if input_context.num_input_pipelines > 1 or _has_several_workers():
            raise ValueError(
                "seed is None, with which each worker would draw other batches: give all the same integer."
            )
        seed = int.from_bytes(os.urandom(4), "little")
    scales = batching.training_scales(scale, short_side_range, long_side_range, num_sides)
    plan = batching.TrainingPlan(_sizes(dataset), batch_size, scales, last_batch, seed)
    source = ImageSource(dataset, cache)
    last_mixed = None if mixing_until is None else mixing_until * batch_size
    augment = Augmentations(operations, form.pad_value, source.read, len(dataset.images), last_mixed)
    rows = _own_rows(batch_size, input_context)
    served = _Served(data_service, start_step, end_step) if data_service else None
    planned = _planned(plan, batch_size, start_step) if served is None else _served_plan(plan, start_step)
    batches = _assemble(planned, source, batch_size, form, augment, seed, rows, served)
    if data_service:
        return batches  # which end
    # Otherwise several workers would ask each other before each step whether there is one more batch.
    return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


class _Rows(typing.NamedTuple):
    """Those of each batch that an input pipeline gives, and how many at a time."""

    start: int
    stop: int
    at_once: int


def _has_several_workers():
    """Whether TF_CONFIG says so."""
    jobs = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().as_dict()
    return sum(len(addresses) for addresses in jobs.values()) > 1


def _own_rows(batch_size, context):
    replicas, pipelines = context.num_replicas_in_sync, context.num_input_pipelines
    if batch_size % replicas:
        raise ValueError(f"batch_size is {batch_size}, of {replicas} replicas together: it must be a multiple of them.")
    share = batch_size // pipelines
    start = context.input_pipeline_id * share
    return _Rows(start, start + share, batch_size // replicas)


def evaluation_batches(
    dataset: CocoDataset,
    batch_size: int,
    *,
    scale: tuple[int, int] = (1333, 800),
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0),
    bounding_box_format: str = "xyxy",
    max_boxes: int | None = None,
    cache: bool = False,
    share: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """A `tf.data.Dataset` of batches with every image once; see the module for their form.

    A batch has images of one size after resizing and padding to a multiple of 32, so that detections do not depend on
    the other images; the last of a size has fewer. The images come by size, not in the data set's order. Arguments as
    in `training_batches`, but for `share`: (w, W) gives every W-th batch from the w-th on, counted from 0.
    """
    form = _form(dataset, pad_value, bounding_box_format, max_boxes, evaluation=True)
    index, count = share
    plan = batching.evaluation_plan(_sizes(dataset), batch_size, scale)[index::count]
    source = ImageSource(dataset, cache)
    planned = tf.data.Dataset.from_tensor_slices(_columns(plan, 0, batch_size))
    batches = _assemble(planned, source, batch_size, form).map(_without_padding)
    return batches.apply(tf.data.experimental.assert_cardinality(len(plan)))


def _without_padding(images, labels):
    """A batch without the last rows that only complete it; a slice of rows copies nothing."""
    count = tf.math.count_nonzero(labels["image_index"] >= 0)
    return tf.nest.map_structure(lambda value: value[:count], (images, labels))


def _signature(batch_size):
    """Of what a plan says of a batch: (step, indices, scale, canvas), see `batching.Batch`."""
    return (
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([batch_size], tf.int64),
        tf.TensorSpec([2], tf.int32),
        tf.TensorSpec([2], tf.int32),
    )


def _columns(batches, first_step, batch_size):
    """Arrays of `_signature`, for `Batch`es from step `first_step` on."""
    steps = np.arange(first_step, first_step + len(batches), dtype=np.int64)
    indices = np.array([batch.indices for batch in batches], np.int64).reshape(-1, batch_size)
    sizes = (np.array([getattr(batch, name) for batch in batches], np.int32) for name in ("scale", "canvas"))
    return steps, indices, *(size.reshape(-1, 2) for size in sizes)


def _planned(plan, batch_size, start_step):
    """Endless `tf.data.Dataset` of `_signature`, of a `TrainingPlan` from step `start_step` on.

    Python is asked once an epoch, and not by `from_generator`: in the newest TensorFlow this makes the C library hand
    free memory back to the kernel at once, which doubles a small model's time for a step on a CPU; and it calls Python
    once more when an iterator is taken down, be it as the process ends.
    """
    first_epoch, offset = divmod(start_step, plan.steps_per_epoch)
    signature = _signature(batch_size)

    def of_epoch(epoch):
        columns = tf.numpy_function(
            lambda number: _columns(plan.epoch(int(number)), number * plan.steps_per_epoch, batch_size),
            [epoch],
            [spec.dtype for spec in signature],
        )
        shaped = [tf.ensure_shape(column, [None, *spec.shape]) for column, spec in zip(columns, signature)]
        return tf.data.Dataset.from_tensor_slices(tuple(shaped))

    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(of_epoch).skip(offset)


def _served_plan(plan, start_step):
    """Endless iterator of the same."""
    for step, batch in plan.batches(start_step):
        yield step, batch.indices, batch.scale, batch.canvas


def _assemble(planned, source, batch_size, form, augment=None, seed=0, own=None, served=None):
    """Batches of what is `planned`: a `tf.data.Dataset` of `_signature`, or with `served` an iterator.

    `own`: `_Rows`, default all of them at once.
    """
    own = own or _Rows(0, batch_size, batch_size)

    def to_samples(step, indices, scale, canvas):
        # One number per sample of the whole training: with the seed it decides all that is random.
        numbers = step * batch_size + tf.range(own.start, own.stop, dtype=tf.int64)
        samples = tf.data.Dataset.from_tensor_slices((numbers, indices[own.start : own.stop]))
        return samples.map(lambda number, index: (number, index, scale, canvas))

    def load(number, index, scale, canvas, encoded):
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        sample = tf.cond(
            index >= 0,
            lambda: _sample(source, index, encoded, scale, canvas, form, augment, seeds),
            lambda: _no_image(canvas, form),
        )
        return number, sample

    def to_batches(rows_of_plan):
        samples = source.read_ahead(rows_of_plan.flat_map(to_samples))
        # In order, as the images of a batch share its canvas.
        loaded = samples.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        numbered = loaded.batch(batch_size if served else own.at_once, drop_remainder=True)
        return numbered.map(lambda numbers, batch: (numbers[0] // batch_size, batch))

    if served:
        batches = service.read(to_batches, planned, _signature(batch_size), *served)
        if own.at_once < batch_size:
            batches = batches.unbatch().batch(own.at_once, drop_remainder=True)
    else:
        batches = to_batches(planned)
        batches = batches.map(lambda step, batch: batch)
    data_options = tf.data.Options()
    # Of batches that TensorFlow has cut into those of one replica, every worker takes its own. Without (OFF), all
    # workers would take the first ones.
    data_options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(data_options).prefetch(tf.data.AUTOTUNE)


def _sample(source, index, encoded, scale, canvas, form, augment, seed):
    """(image [*canvas, 3], labels) of the image at `index`."""
    image, boxes, classes = source.decode(index, encoded)
    original_hw = tf.shape(image)[:2]
    if augment is None:
        image, boxes = resize(image, boxes, image_ops.keep_ratio_size(original_hw, scale))
    else:
        image, boxes, classes = augment(image, boxes, classes, scale, canvas, seed)
    labels = _labels(boxes, classes, tf.shape(image)[:2], canvas, form)
    if form.evaluation:
        labels["image_index"] = index
        labels["original_shape"] = original_hw
    return image_ops.pad_to_canvas(image, canvas, form.pad_value), labels


def _no_image(canvas, form):
    nothing = tf.zeros([0, 0, 3])
    labels = _labels(tf.zeros([0, 4]), tf.zeros([0]), tf.zeros([2], tf.int32), canvas, form)
    if form.evaluation:
        labels["image_index"] = tf.constant(-1, tf.int64)
        labels["original_shape"] = tf.zeros([2], tf.int32)
    return image_ops.pad_to_canvas(nothing, canvas, form.pad_value), labels


def _labels(boxes, classes, size, canvas, form):
    kept = tf.minimum(tf.shape(boxes)[0], form.max_boxes)
    kept = tf.sort(tf.math.top_k(area(boxes), kept).indices)  # the largest, in their order
    boxes, classes = tf.gather(boxes, kept), tf.gather(classes, kept)
    boxes = convert_xyxy(boxes, form.bounding_box_format, canvas)
    missing = form.max_boxes - tf.size(kept)
    boxes = tf.pad(boxes, [[0, missing], [0, 0]], constant_values=-1.0)
    classes = tf.pad(classes, [[0, missing]], constant_values=-1.0)
    return {
        "boxes": tf.ensure_shape(boxes, [form.max_boxes, 4]),
        "classes": tf.ensure_shape(classes, [form.max_boxes]),
        "image_shape": size,
    }


def convert_xyxy(boxes: tf.Tensor, bounding_box_format: str, canvas: tf.Tensor) -> tf.Tensor:
    """xyxy pixels [..., 4] -> the KerasCV format of that name; `canvas` int [2] is (height, width)."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    if bounding_box_format.startswith("rel_"):
        height, width = tf.unstack(tf.cast(canvas, tf.float32))
        x1, y1, x2, y2 = x1 / width, y1 / height, x2 / width, y2 / height
    columns = {
        "xyxy": (x1, y1, x2, y2),
        "yxyx": (y1, x1, y2, x2),
        "xywh": (x1, y1, x2 - x1, y2 - y1),
        "center_xywh": ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
    }
    return tf.stack(columns[bounding_box_format.removeprefix("rel_")], axis=-1)


def _sizes(dataset):
    return np.asarray([(record.height, record.width) for record in dataset.images], np.int32)


def _form(dataset, pad_value, bounding_box_format, max_boxes, evaluation=False, mixes=False):
    return _Form(
        pad_value=_checked_pad_value(pad_value),
        bounding_box_format=_checked_format(bounding_box_format),
        max_boxes=_padded_boxes(dataset, max_boxes, mixes),
        evaluation=evaluation,
    )


def _padded_boxes(dataset, max_boxes, mixes):
    if max_boxes is None:
        return max(8, -(-dataset.max_boxes // 8) * 8) * (MIXED_BOXES if mixes else 1)
    if max_boxes < 1:
        raise ValueError(f"max_boxes is {max_boxes}; it must be at least 1.")
    crowded = sum(len(record.boxes) > max_boxes for record in dataset.images)
    if crowded:
        logging.warning(
            "%d images have more than max_boxes=%d boxes (up to %d); their smallest boxes are left out.",
            crowded,
            max_boxes,
            dataset.max_boxes,
        )
    return max_boxes


def _checked_pad_value(pad_value):
    values = tuple(float(value) for value in pad_value)
    if len(values) != 3:
        raise ValueError(f"pad_value is {pad_value}; three numbers (RGB) are needed.")
    return values


def _checked_format(bounding_box_format):
    if bounding_box_format not in BOX_FORMATS:
        raise ValueError(f"bounding_box_format is {bounding_box_format!r}; choose one of {BOX_FORMATS}.")
    return bounding_box_format
