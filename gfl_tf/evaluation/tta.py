"""Test-time augmentation: several sizes of an image, each also mirrored, merged before one NMS.

The last row of the GFLv2 paper's table 7 ("MS_test") is made so. Its authors published neither the sizes nor code for
them, only mmdetection's way of merging, which is this one: each view's candidates, already thinned to the best points
of each level, are mapped back to the image, and all of them go through one suppression together.
"""

import collections.abc
import typing

import tensorflow as tf

from gfl_tf import detections
from gfl_tf.data import images as image_ops
from gfl_tf.data.coco import CocoDataset
from gfl_tf.data.source import ImageSource
from gfl_tf.evaluation import coco

if typing.TYPE_CHECKING:
    from gfl_tf.detectors.detector import Detector


# Of 800 pixels, test size of the published models: 480, 640, 800 and 960, evenly over the range that GFLv2 is trained
# on (section 4.2).
FACTORS = (0.6, 0.8, 1.0, 1.2)


def default_scales(scale: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """(long, short) limits of the views of a model that is tested at `scale`, (long, short) pixels."""
    return tuple(tuple(int(side * factor + 0.5) for side in scale) for factor in FACTORS)


def detect(
    model: "Detector", images: tf.Tensor, scales: collections.abc.Sequence[tuple[int, int]], flip: bool = True
) -> dict[str, tf.Tensor]:
    """Detections of images of one size in their own pixels, from several views of them.

    The views go through the network one after the other: memory does not grow with their number. In a `tf.function`
    without fixed height and width, such as `evaluate` makes, one trace serves images of all sizes.

    Args:
        model: a detector; see `Detector.candidates`.
        images: [B, h, w, 3] of any number type, RGB in 0..255.
        scales: [(long, short), ...] limits of the keep-ratio resize; one view each.
        flip: adds each view's mirror image.

    Returns the record of `gfl_tf.detections` in pixels of `images`, boxes clipped to them.

    Raises:
        ValueError: no scale, or one that is not two positive numbers.
    """
    scales = _checked(scales)
    mirrored = (False, True) if flip else (False,)
    view_scales = tf.repeat(tf.constant(scales, tf.int32), len(mirrored), axis=0)  # [V, 2]
    view_mirrored = tf.tile(mirrored, [len(scales)])

    def with_view(index, merged):
        view = _view_candidates(model, images, view_scales[index], view_mirrored[index])
        return index + 1, tf.nest.map_structure(lambda *values: tf.concat(values, axis=1), merged, view)

    # The first view alone: a loop has to know beforehand what candidates consist of.
    merged = _view_candidates(model, images, view_scales[0], view_mirrored[0])
    shapes = tf.nest.map_structure(lambda value: tf.TensorShape([*value.shape[:1], None, *value.shape[2:]]), merged)
    num_views = len(scales) * len(mirrored)
    _, merged = tf.while_loop(
        lambda index, _: index < num_views,
        with_view,
        (tf.constant(1), merged),
        shape_invariants=(tf.TensorShape([]), shapes),
        parallel_iterations=1,
    )
    return model.prediction_decoder.suppress(merged)


def _checked(scales):
    scales = [tuple(int(side) for side in scale) for scale in scales]
    if not scales or any(len(scale) != 2 or min(scale) < 1 for scale in scales):
        raise ValueError(f"the sizes of the views are {scales}; at least one pair of positive numbers is needed")
    return scales


def _view_candidates(model, images, scale, is_mirrored):
    """Candidates (see `Detector.candidates`) of one view, in pixels of `images`."""
    original_hw = tf.shape(images)[1:3]
    view = image_ops.resize_keep_ratio(images, scale)
    resized_hw = tf.shape(view)[1:3]
    # Before the model's padding, which thus stays at the right in the mirror image too.
    view = tf.cond(is_mirrored, lambda: tf.reverse(view, [2]), lambda: view)

    candidates = model.candidates(model(view, training=False), resized_hw)
    width = tf.cast(resized_hw[1], tf.float32)
    candidates = tf.cond(is_mirrored, lambda: detections.mirrored(candidates, width), lambda: candidates)
    return detections.to_original(candidates, original_hw, resized_hw)


def evaluate(
    model: "Detector",
    dataset: CocoDataset,
    scales: collections.abc.Sequence[tuple[int, int]],
    flip: bool = True,
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> coco.CocoResult:
    """`coco.evaluate` with test-time augmentation, image by image.

    Args:
        model: a detector.
        dataset: `CocoDataset`.
        scales, flip: see `detect`.
        progress: called after every image with (images done, images in all).

    Returns:
        `coco.CocoResult`.
    """
    coco.check_classes(model, dataset)

    @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)])
    def detect_one(images):
        return detect(model, images, scales, flip)

    evaluator = coco.CocoEvaluator(dataset)
    for record, image in zip(dataset.images, ImageSource(dataset).images()):
        evaluator.add(record.id, detections.of_image(detect_one(image[tf.newaxis])))
        if progress:
            progress(evaluator.num_images, len(dataset.images))
    return evaluator.result()
