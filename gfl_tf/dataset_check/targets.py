"""What the box branch of a detector would have to learn: distances in strides, per level (GFL, figure 5c)."""

import functools
import typing

import numpy as np
import tensorflow as tf

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.data import batching
from gfl_tf.dataset_check.boxes import Boxes
from gfl_tf.dataset_check.findings import Example, Finding, finding
from gfl_tf.dataset_check.loading import Split
from gfl_tf.ops import distances as distance_ops
from gfl_tf.ops.grid import GridSpec

MAX_IMAGES = 500
PERCENTILES = (50, 90, 99, 100)


class Level(typing.NamedTuple):
    """The positives of one level, or of all.

    Attributes:
        name: "P3" or "all".
        stride: pixels; 0 of all.
        positives: how many.
        percentiles: of the four distances of each positive, in strides; see `PERCENTILES`. () where there is none.
        beyond: share of the distances beyond what the bins reach, 0 to 1.
    """

    name: str
    stride: int
    positives: int
    percentiles: tuple
    beyond: float


class Targets(typing.NamedTuple):
    """What was assigned in the sampled images.

    Attributes:
        images: how many.
        boxes: how many they have.
        unassigned: how many of these have no positive.
        too_small: how many of those have a side below the first level's stride.
        levels: `Level`s, the last of all together.
    """

    images: int
    boxes: int
    unassigned: int
    too_small: int
    levels: tuple


def measure(
    split: Split, boxes: Boxes, scale: tuple[int, int], levels: tuple[int, ...], reach: float
) -> tuple[Targets, list[Finding]]:
    """Assigns the boxes of at most `MAX_IMAGES` images, evenly spaced, as ATSS does.

    Args:
        split: a split with boxes.
        boxes: its `all_boxes`.
        scale: of the resize.
        levels: of the pyramid, as of `GridSpec`.
        reach: the largest distance that the bins have, in strides.

    Returns:
        (`Targets`, a finding of the boxes without a positive).
    """
    spec = GridSpec(levels=levels)
    annotated = np.unique(boxes.image)
    sample = annotated[np.linspace(0, len(annotated) - 1, min(len(annotated), MAX_IMAGES)).astype(int)]
    records = [split.dataset.images[index] for index in sample]
    sizes = batching.keep_ratio_sizes([(record.height, record.width) for record in records], scale)
    assign = _assignment(spec)
    strides, distances, unassigned, too_small = [], [], [], 0
    for index, record, size in zip(sample, records, sizes):
        own = boxes.resized[boxes.image == index]
        stride, distance, box = (value.numpy() for value in assign(own, size.astype(np.int32)))
        strides.append(stride)
        distances.append(distance)
        left_out = np.setdiff1d(np.arange(len(own)), box)
        too_small += np.count_nonzero((own[left_out, 2:] - own[left_out, :2]).min(axis=1) < spec.strides[0])
        unassigned += [_example(split, record, own, each) for each in left_out]
    strides, distances = np.concatenate(strides), np.concatenate(distances)
    rows = [
        _level(f"P{level}", stride, distances[strides == stride], reach) for level, stride in zip(levels, spec.strides)
    ]
    rows.append(_level("all", 0, distances, reach))
    num_boxes = int(np.isin(boxes.image, sample).sum())
    targets = Targets(len(sample), num_boxes, len(unassigned), int(too_small), tuple(rows))
    return targets, finding("unassigned_box", split.name, unassigned)


@functools.cache
def _assignment(spec):
    """A function of boxes [M, 4] and an image's size [2]: the positives' strides [K], distances [K, 4], boxes [K]."""

    @tf.function(input_signature=[tf.TensorSpec([None, 4]), tf.TensorSpec([2], tf.int32)], autograph=False)
    def assign(boxes, size):
        grid = spec.on(size)
        assignment = ATSSAssigner()(boxes[tf.newaxis], tf.zeros([1, tf.shape(boxes)[0]], tf.int32), grid)
        places = grid.places.at(tf.boolean_mask(assignment.place, assignment.is_positive))
        box = tf.boolean_mask(assignment.box, assignment.is_positive)
        distances = distance_ops.boxes_to_distances(places.points_px, tf.gather(boxes, box))
        return places.strides, distances / places.strides[:, tf.newaxis], box

    return assign


def _level(name, stride, distances, reach):
    percentiles = tuple(np.percentile(distances, PERCENTILES).tolist()) if distances.size else ()
    beyond = float(np.mean(distances > reach)) if distances.size else 0.0
    return Level(name, stride, len(distances), percentiles, beyond)


def _example(split, record, resized, index):
    name = split.dataset.class_names[record.classes[index]]
    width, height = resized[index, 2:] - resized[index, :2]
    text = f"{name} in {record.path}: {width:.1f} x {height:.1f} px after the resize"
    return Example(text, record.path, tuple(map(float, record.boxes[index])))
