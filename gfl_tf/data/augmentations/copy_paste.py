"""Objects of another image, pasted (Kisantal et al. 2019, arXiv:1902.07296; Ghiasi et al. 2020, arXiv:2012.07177).

These cut objects out along their masks. Here there are boxes only: a rectangle is pasted, with a little of what is
around the object.
"""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, Sample, check, check_shares, sometimes
from gfl_tf.data.augmentations.resizing import Resize, moved
from gfl_tf.ops.boxes import area

MOST = 10  # objects that are pasted into an image
PLACES = 4  # that are tried for each of them
MARGIN = 0.1  # what is pasted on each side of an object, as a share of its width or height
MAX_COVERED = 0.3  # share of a box that one pasted object may cover
MIN_VISIBLE = 0.5  # a box of which less than this share is left, of a pasted object or under them, is not learnt


@dataclasses.dataclass(frozen=True)
class CopyPaste(Operation, name="copy_paste", num_draws=3 + 2 * MOST * PLACES, num_others=1):
    """Pastes 1 to `num` objects of another image at random places.

    The rectangle of a box with a tenth of its sides around it is pasted, at the size that the other image would have
    alone. What else of the other image is seen by half in there is learnt, too. A rectangle lies where it covers no
    more than 0.3 of any box; after four places tried in vain it is left out. Boxes that several cover by more than half
    are dropped.
    """

    probability: float = 0.5
    num: int = 5

    def __post_init__(self):
        check_shares(self, "probability")
        is_count = isinstance(self.num, int) and not isinstance(self.num, bool) and 1 <= self.num <= MOST
        check(self, "num", is_count, f"an integer from 1 to {MOST}")

    def __call__(self, sample, draws, frame):
        def change(sample):
            other = Resize()(frame.others[0](), (), frame)
            # Evenly spaced in the list of boxes: none twice, and all with the same chance.
            total = tf.size(other.classes)
            count = tf.minimum(1 + tf.cast(draws[1] * self.num, tf.int32), total)
            steps = (tf.cast(tf.range(count), tf.float32) + draws[2]) / tf.cast(count, tf.float32)
            chosen = tf.minimum(tf.cast(steps * tf.cast(total, tf.float32), tf.int32), total - 1)
            windows = tf.gather(windows_around(other.boxes, tf.shape(other.image)[:2]), chosen)
            return paste(sample, other, windows, tf.reshape(draws[3:], [MOST, PLACES, 2]))

        return sometimes(self.probability, draws[0], change, sample)


def windows_around(boxes, hw):
    """int32 [n, 4], y, x, height, width: boxes [n, 4] with their margin, as far as it is inside of the image."""
    margin = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    first = tf.cast(tf.floor(boxes[:, :2] - margin), tf.int32)
    last = tf.cast(tf.math.ceil(boxes[:, 2:] + margin), tf.int32)
    first, last = tf.maximum(first, 0)[:, ::-1], tf.minimum(last[:, ::-1], hw)
    return tf.concat([first, last - first], axis=1)


def paste(sample, other, windows, draws):
    """Pastes windows of another image, one after the other.

    Args:
        sample, other: `Sample`s with float32 images.
        windows: int32 [k, 4], y, x, height, width, inside of `other`.
        draws: float32 [at least k, PLACES, 2] in 0..1, where each may lie between top and bottom, left and right.

    Returns:
        `Sample`.
    """

    def paste_next(number, sample, covered):
        window = windows[number]
        free = tf.shape(sample.image)[:2] - window[2:]
        starts = tf.cast(tf.cast(free + 1, tf.float32) * draws[number], tf.int32)
        starts = tf.minimum(starts, free)  # [PLACES, 2]
        shares = covered_share(sample.boxes, corners(starts, window[2:])[:, None])  # [PLACES, n]
        is_free = tf.reduce_all(shares <= MAX_COVERED, axis=1) & tf.reduce_all(free >= 0)
        place = tf.argmax(tf.cast(is_free, tf.int32))

        def pasted():
            part = cut(other, window)
            boxes = tf.concat([sample.boxes, moved(part.boxes, starts[place])], axis=0)
            classes = tf.concat([sample.classes, part.classes], axis=0)
            total = tf.pad(covered + shares[place], [[0, tf.size(part.classes)]])
            return Sample(put(sample.image, part.image, starts[place]), boxes, classes), total

        return number + 1, *tf.cond(is_free[place], pasted, lambda: (sample, covered))

    _, sample, covered = tf.while_loop(
        lambda number, *_: number < tf.shape(windows)[0],
        paste_next,
        (0, sample, tf.zeros_like(sample.classes)),
        shape_invariants=(
            tf.TensorShape([]),
            Sample(tf.TensorShape([None, None, 3]), tf.TensorShape([None, 4]), tf.TensorShape([None])),
            tf.TensorShape([None]),
        ),
    )
    keep = covered <= 1.0 - MIN_VISIBLE
    return sample._replace(boxes=tf.boolean_mask(sample.boxes, keep), classes=tf.boolean_mask(sample.classes, keep))


def cut(sample, window):
    """The `Sample` in a window, int32 [4] (y, x, height, width), with the boxes that are in it by `MIN_VISIBLE`."""
    y, x, height, width = tf.unstack(window)
    frame = corners(window[:2], window[2:])
    keep = covered_share(sample.boxes, frame) >= MIN_VISIBLE
    boxes = tf.boolean_mask(sample.boxes, keep)
    boxes = tf.concat([tf.maximum(boxes[:, :2], frame[:2]), tf.minimum(boxes[:, 2:], frame[2:])], axis=1)
    image = sample.image[y : y + height, x : x + width]
    return Sample(image, moved(boxes, -window[:2]), tf.boolean_mask(sample.classes, keep))


def put(image, part, start):
    """The image [h, w, 3] with a part [h', w', 3] of it replaced from `start`, int32 [2] (y, x), on."""
    (y, x), (height, width) = tf.unstack(start), tf.unstack(tf.shape(part)[:2])
    rows = image[y : y + height]
    rows = tf.concat([rows[:, :x], part, rows[:, x + width :]], axis=1)
    return tf.concat([image[:y], rows, image[y + height :]], axis=0)


def corners(starts, size):
    """float32 [..., 4], xyxy, of rectangles that begin at `starts` [..., 2] (y, x) and have one size [2]."""
    ends = starts + size
    return tf.cast(tf.concat([starts[..., ::-1], ends[..., ::-1]], axis=-1), tf.float32)


def covered_share(boxes, windows):
    """The shares of the boxes [..., 4] that lie in the windows [..., 4]; both xyxy, broadcast."""
    low = tf.maximum(boxes[..., :2], windows[..., :2])
    high = tf.minimum(boxes[..., 2:], windows[..., 2:])
    return tf.math.divide_no_nan(area(tf.concat([low, high], axis=-1)), area(boxes))
