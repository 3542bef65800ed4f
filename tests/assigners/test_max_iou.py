"""RetinaNet's assignment worked out by hand, and against a plain loop over all anchors."""

import numpy as np
import pytest

from gfl_tf.assigners.max_iou import MaxIoUAssigner
from gfl_tf.ops.grid import GridSpec

# Of the examples by hand: the four quarters of 64 x 64 pixels. 0: top left, 1: top right, 2: bottom left, 3.
QUARTERS = GridSpec(levels=(5,), offset=0.5, anchor_scales=(1.0,))
NINE = GridSpec(anchor_scales=(4.0, 5.0, 6.0), anchor_ratios=(0.25, 1.0, 4.0))


def assign(boxes, is_box=None, shape=(64, 64), image_shape=None, spec=QUARTERS, **options):
    """{place index: box index} of one image, and the indices of the places that do not count."""
    boxes = np.float32(boxes).reshape(1, -1, 4)
    classes = np.zeros(boxes.shape[:2], np.int32) if is_box is None else np.where([is_box], 0, -1)
    grid = spec.on(shape, [image_shape or shape])
    assignment = MaxIoUAssigner(**options)(boxes, classes, grid)
    place, box, positive, counts = (t.numpy()[0] for t in assignment)
    np.testing.assert_array_equal(place, np.arange(grid.size))
    return dict(zip(place[positive].tolist(), box[positive].tolist())), np.flatnonzero(~counts).tolist()


@pytest.mark.parametrize(
    "height, options, positive, ignored",
    [
        # A box (0, 0, 32, 32 + a) has IoUs of 32 / (32 + a) with the quarter at its top and a / 64 with that below.
        (32 + 20, {}, [0], []),  # 20 / 64 = 0.3125
        (32 + 28, {}, [0], [2]),  # 28 / 64 = 0.4375
        (32 + 28, dict(positive_iou=0.4375), [0, 2], []),  # at the threshold
        (32 + 24, dict(negative_iou=0.375), [0], [2]),  # 24 / 64, not below the threshold
        (32 + 23, dict(negative_iou=0.375), [0], []),
        (64, {}, [0, 2], []),  # 0.5 twice
    ],
)
def test_thresholds(height, options, positive, ignored):
    assert assign([(0, 0, 32, height)], **options) == (dict.fromkeys(positive, 0), ignored)


def test_the_best_anchor_of_a_box_is_positive():
    """8 x 8 pixels in a quarter: an IoU of 64 / 1024 = 0.0625."""
    assert assign([(36, 4, 44, 12)]) == ({1: 0}, [])


def test_all_best_anchors_of_a_box_are_positive():
    """32 x 32 pixels in the middle: four IoUs of 256 / (2048 - 256) = 0.143."""
    assert assign([(16, 16, 48, 48)]) == (dict.fromkeys(range(4), 0), [])


@pytest.mark.parametrize("boxes", [[(0, 0, 32, 32), (4, 4, 12, 12)], [(4, 4, 12, 12), (0, 0, 32, 32)]])
def test_of_several_boxes_the_last_has_its_best_anchor(boxes):
    """The first quarter is the best of both, with IoUs of 1 and 0.0625."""
    assert assign(boxes) == ({0: 1}, [])


def test_of_equal_ious_the_first_box_wins():
    """Twice the same box: 0 is its best anchor, 2 is positive from the threshold of 28 / 64 on."""
    assert assign([(0, 0, 32, 60)] * 2, positive_iou=0.4375) == ({0: 1, 2: 0}, [])


def test_the_highest_iou_wins():
    """Quarter 2 has IoUs of 28 / 64 with the first box and 32 / 60 with the second, which is its best anchor's."""
    assert assign([(0, 0, 32, 60), (0, 4, 32, 64)]) == ({0: 0, 2: 1}, [])


def test_no_overlap_at_all():
    """A box outside the canvas: its best anchors, all of IoU 0, are negatives."""
    assert assign([(100, 100, 120, 120)]) == ({}, [])


def test_padding_and_no_boxes():
    boxes = [(0, 0, 32, 60), (0, 0, 32, 32), (-1, -1, -1, -1)]
    assert assign(boxes, [False, True, False]) == ({0: 1}, [])
    assert assign(boxes, [False] * 3) == ({}, [])
    assert assign(np.zeros((0, 4))) == ({}, [])


def test_outside_the_image():
    """An image of 20 x 64 is padded to 32 x 64: the upper quarters, which have the best anchors.

    (0, 16, 32, 56) has IoUs of 512 / (1280 + 1024 - 512) = 0.286 with 0 and 768 / 1536 = 0.5 with 2.
    """
    assert assign([(0, 16, 32, 56)]) == ({2: 0}, [])
    assert assign([(0, 16, 32, 56)], image_shape=(20, 64)) == ({0: 0}, [2, 3])
    assert assign([(0, 40, 32, 64)], image_shape=(20, 64)) == ({}, [2, 3])


@pytest.mark.parametrize(
    "positive, negative, message",
    [
        (0.4, 0.5, "0 < negative_iou <= positive_iou <= 1 is needed"),
        (0.5, 0.0, "0 < negative_iou <= positive_iou <= 1 is needed"),
        (1.1, 0.4, "positive_iou is 1.1; it must be a number from 0 to 1"),
    ],
)
def test_impossible_thresholds_are_refused(positive, negative, message):
    with pytest.raises(ValueError, match=message):
        MaxIoUAssigner(positive_iou=positive, negative_iou=negative)


def assign_by_loop(boxes, image_shape, canvas_shape):
    """Positives {place: box} and places left out, of nine anchors a point, one by one in float64.

    Anchors of sides 4, 5 and 6 strides, each with a height of 1/4, 1 and 4 times its width: numbers without rounding,
    as the best anchors of a box are often several, such as all those of one area that hold it.
    """
    best, owner, places = {}, {}, 0
    best_anchors = [(0.0, []) for _ in boxes]
    outside = []
    for stride in (8, 16, 32, 64, 128):
        rows, columns = (-(-(-(-side // 32) * 32) // stride) for side in canvas_shape)
        own_rows, own_columns = (-(-(-(-side // 32) * 32) // stride) for side in image_shape)
        for row, column, ratio, scale in np.ndindex(rows, columns, 3, 3):
            place, places = places, places + 1
            if row >= own_rows or column >= own_columns:
                outside.append(place)
                continue
            width, height = (4 + scale) * stride * 2.0 ** (1 - ratio), (4 + scale) * stride * 2.0 ** (ratio - 1)
            x1, y1 = column * stride - width / 2, row * stride - height / 2
            best[place], owner[place] = 0.0, 0
            for index, box in enumerate(np.float64(boxes)):
                overlap_x = min(box[2], x1 + width) - max(box[0], x1)
                overlap_y = min(box[3], y1 + height) - max(box[1], y1)
                overlap = max(overlap_x, 0) * max(overlap_y, 0)
                iou = overlap / (width * height + (box[2] - box[0]) * (box[3] - box[1]) - overlap)
                if iou > best[place]:
                    best[place], owner[place] = iou, index
                if iou > best_anchors[index][0]:
                    best_anchors[index] = iou, []
                if iou == best_anchors[index][0] > 0:
                    best_anchors[index][1].append(place)
    positive = {place: owner[place] for place, iou in best.items() if iou >= 0.5}
    ignored = [place for place, iou in best.items() if 0.4 <= iou < 0.5]
    for index, (_, anchors) in enumerate(best_anchors):
        positive.update(dict.fromkeys(anchors, index))
    return positive, sorted({*ignored, *outside} - set(positive))


@pytest.mark.parametrize(
    "image_shape, canvas_shape", [((128, 160), (128, 160)), ((90, 70), (128, 160)), ((32, 333), (32, 333))]
)
def test_against_a_loop_over_all_anchors(image_shape, canvas_shape):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, image_shape[::-1] * 2, (12, 4))
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    boxes = boxes.astype(np.float32)
    expected = assign_by_loop(boxes, image_shape, canvas_shape)
    assert len(expected[0]) > 15 and len(set(expected[0].values())) > 5 and expected[1]
    assert assign(boxes, None, canvas_shape, image_shape, NINE) == expected
