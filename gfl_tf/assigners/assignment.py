"""What every assigner says: which places learn which box."""

import collections.abc
import typing

import tensorflow as tf


class Assignment(typing.NamedTuple):
    """One entry per candidate, N of an image. A place is positive at most once.

    Attributes:
        place: int32 [B, N], index into the P places.
        box: int32 [B, N], index into the M boxes.
        is_positive: bool [B, N]; entries that are not positive are to be masked.
        counts: bool [B, P], places that take part in the classification loss.
    """

    place: tf.Tensor
    box: tf.Tensor
    is_positive: tf.Tensor
    counts: tf.Tensor


def of_all_places(box: tf.Tensor, is_positive: tf.Tensor, counts: tf.Tensor) -> Assignment:
    """The `Assignment` of an assigner that looks at all P places: [B, P] each."""
    place = tf.broadcast_to(tf.range(tf.shape(box)[1]), tf.shape(box))
    return Assignment(place, box, is_positive, counts)


def over_boxes(
    update: collections.abc.Callable[..., tuple[tf.Tensor, ...]],
    boxes: tf.Tensor,
    classes: tf.Tensor,
    state: tuple[tf.Tensor, ...],
) -> tuple[tf.Tensor, ...]:
    """Goes through the M boxes one by one, so that nothing of size P x M is built.

    Args:
        update: function of (index, box [B, 1, 4], whether it is one [B, 1], state) to the new state, a tuple of
            [B, P] tensors.
        boxes: [B, M, 4].
        classes: int32 [B, M], -1 for padding.
        state: the first one.
    """

    def step(index, *state):
        box, exists = boxes[:, index, tf.newaxis], classes[:, index, tf.newaxis] >= 0
        return index + 1, *update(index, box, exists, state)

    result = tf.while_loop(lambda index, *_: index < tf.shape(boxes)[1], step, (0, *state))
    return result[1:]
