"""What the properties are tried on: numbers, boxes and JSON, and how gradients are looked at."""

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

COUNT = 6  # of the boxes, places or pairs of one case


def numbers(low, high):
    return st.floats(low, high, width=32, allow_subnormal=False)


def arrays(shape, low, high):
    return npst.arrays(np.float32, shape, elements=numbers(low, high))


def boxes(low=-2000.0, high=2000.0, count=COUNT):
    """float32 [count, 4], xyxy; some of them without area."""
    return arrays((count, 4), low, high).map(corners_in_order)


def whole_boxes(low=0, high=256, count=COUNT):
    """As `boxes`, at quarters of a pixel: shifted by whole numbers, nothing is rounded."""
    quarters = npst.arrays(np.int32, (count, 4), elements=st.integers(4 * low, 4 * high))
    return quarters.map(lambda array: corners_in_order(array.astype(np.float32) / 4))


def corners_in_order(array):
    pairs = np.sort(array.reshape(-1, 2, 2), axis=1)
    return pairs.reshape(-1, 4)


def orders(count=COUNT):
    return st.permutations(range(count)).map(np.array)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["", "a.png", "b.png", "../a.png", "1", "nan", 10**400, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def loss_and_gradients(function, *inputs):
    """The loss and its gradients by all inputs, NumPy."""
    inputs = [tf.constant(value) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = function(*inputs)
    return loss.numpy(), [gradient.numpy() for gradient in tape.gradient(loss, inputs) if gradient is not None]


def check_finite(function, *inputs):
    """The loss, once it and its gradients are finite."""
    loss, gradients = loss_and_gradients(function, *inputs)
    assert np.isfinite(loss).all() and gradients
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    return loss
