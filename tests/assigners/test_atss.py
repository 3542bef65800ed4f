"""ATSS worked out by hand, and against a plain loop over all points."""

import numpy as np
import pytest

from gfl_tf.assigners.atss import ATSSAssigner
from gfl_tf.ops.grid import GridSpec

LEVELS = (3, 4, 5)  # of the examples by hand: 8 x 8, 4 x 4 and 2 x 2 points on 64 x 64 pixels


def assign(boxes, classes_ok=None, shape=(64, 64), image_shape=None, spec=GridSpec(levels=LEVELS), **options):
    """`Assignment` of one image, as numpy arrays without the batch axis."""
    boxes = np.float32(boxes).reshape(1, -1, 4)
    classes = np.zeros(boxes.shape[:2], np.int32) if classes_ok is None else np.where([classes_ok], 0, -1)
    assignment = ATSSAssigner(**options)(boxes, classes, spec.on(shape, [image_shape or shape]))
    return type(assignment)(*(t.numpy()[0] for t in assignment))


def positive_points(boxes, classes_ok=None, shape=(64, 64), image_shape=None, levels=LEVELS, k=4, offset=0.0):
    """{point index: box index} of one image."""
    point, box, positive, _ = assign(boxes, classes_ok, shape, image_shape, GridSpec(levels=levels, offset=offset), k=k)
    assert len(set(point[positive])) == positive.sum()
    return dict(zip(point[positive].tolist(), box[positive].tolist()))


def p3_index(x, y, width=64):
    return y // 8 * (width // 8) + x // 8


def test_threshold_is_mean_plus_standard_deviation():
    """A box of 40 x 40 around (20, 20), k = 4.

    Candidates: P3's points 16 and 24 on both axes, P4's 16 and 32, P5's 0 and 32. Anchors have sides of 64, 128 and
    256 and hold the whole box, so their IoUs are 1600 / 64^2 = 0.390625, 1600 / 128^2 = 0.09765625 and
    1600 / 256^2 = 0.0244140625, four of each. Mean 0.1708984375, squared deviations 0.0482798, 0.0053644 and
    0.0214577, standard deviation sqrt(4 * 0.0751019 / 11) = 0.1652566, threshold 0.3361551: P3's four.
    """
    expected = {p3_index(x, y): 0 for x in (16, 24) for y in (16, 24)}
    assert positive_points([[0, 0, 40, 40]]) == expected


def test_standard_deviation_is_the_unbiased_one():
    """The same box on P3 and P4 alone.

    Mean 0.244140625, deviations +-0.146484375, eight of them: the population's standard deviation would be
    0.146484375 and the threshold exactly P3's IoU; divided by 7 it is 0.1566, and the threshold above all IoUs.
    """
    assert positive_points([[0, 0, 40, 40]], levels=(3, 4)) == {}


def test_an_iou_at_the_threshold_is_enough():
    """The same box on P3 alone: four equal IoUs, so the threshold is 0.390625 + 0."""
    assert len(positive_points([[0, 0, 40, 40]], levels=(3,))) == 4


def test_positive_points_lie_inside_their_box():
    """A box 16 x 8 around (20, 19): of the candidates (16, 16), (24, 16), (16, 24) and (24, 24), two are below it."""
    expected = {p3_index(16, 16): 0, p3_index(24, 16): 0}
    assert positive_points([[12, 15, 28, 23]]) == expected


@pytest.mark.parametrize("inset, is_positive", [(0.0, False), (0.005, False), (0.02, True)])
def test_a_point_on_the_edge_is_not_inside(inset, is_positive):
    """The points at x = 16 lie `inset` inside the left side; inside means by more than 0.01."""
    x1 = 16 - inset
    positive = positive_points([[x1, 4, 30, 30]])  # centre 23, 17: candidates x 16 and 24, y 8 and 16 or 16 and 24
    assert p3_index(24, 16) in positive
    assert (p3_index(16, 16) in positive) == is_positive


def test_contested_points_go_to_the_higher_iou():
    """Two boxes around (20, 20), of 24 x 24 (IoU 576 / 4096) and of 40 x 40 (1600 / 4096), want the same points."""
    points = [p3_index(x, y) for x in (16, 24) for y in (16, 24)]
    small, large = [8, 8, 32, 32], [0, 0, 40, 40]
    assert positive_points([small]) == dict.fromkeys(points, 0)
    assert positive_points([small, large]) == dict.fromkeys(points, 1)
    assert positive_points([large, small]) == dict.fromkeys(points, 0)


def test_of_equal_ious_the_first_box_wins():
    points = [p3_index(x, y) for x in (16, 24) for y in (16, 24)]
    assert positive_points([[0, 0, 40, 40], [0, 0, 40, 40]]) == dict.fromkeys(points, 0)


def test_levels_smaller_than_k_give_what_they_have():
    """A box that fills 32 x 32 pixels, levels P3 to P7, k = 9: 9 + 4 + 1 + 1 + 1 = 16 candidates.

    IoUs 1/4 (9 times), 1/16 (4 times), 1/64, 1/256 and 1/1024: mean 0.15753, standard deviation
    sqrt(0.18133 / 15) = 0.10995, threshold 0.26748: no positive. Missing candidates counted as IoU 0 (45 entries)
    would bring it down to 0.156, and P3's nine points in.
    """
    assert positive_points([[0, 0, 32, 32]], shape=(32, 32), levels=(3, 4, 5, 6, 7), k=9) == {}


def test_padding_and_no_boxes():
    points = [p3_index(x, y) for x in (16, 24) for y in (16, 24)]
    boxes = [[0, 0, 40, 40], [0, 0, 40, 40], [-1, -1, -1, -1]]
    assert positive_points(boxes, classes_ok=[False, True, False]) == dict.fromkeys(points, 1)
    assert positive_points(boxes, classes_ok=[False] * 3) == {}


def test_candidates_and_anchors_stand_at_the_points():
    """Points at (i + 0.5) * stride: the box of 40 x 40 around (20, 20) on P3 alone has those at 12, 20 and 28.

    The k = 4 nearest: (20, 20) and three of its four neighbours, at equal distances; the IoUs are equal, 1600 / 4096.
    """
    positive = positive_points([[0, 0, 40, 40]], levels=(3,), offset=0.5)
    neighbours = {p3_index(x, y) for x, y in ((16, 8), (8, 16), (24, 16), (16, 24))}  # the corners of their cells
    assert p3_index(16, 16) in positive and len(positive) == 4 and set(positive) <= {p3_index(16, 16), *neighbours}


@pytest.mark.parametrize("ignore_outside", [True, False])
def test_what_counts(ignore_outside):
    """An image of 40 x 30 in a canvas of 64 x 64 is padded to 64 x 32: the left half of each level."""
    counts = assign([[0, 0, 30, 30]], image_shape=(40, 30), ignore_outside=ignore_outside).counts
    left_halves = np.concatenate([np.tile(np.arange(n) < n / 2, n) for n in (8, 4, 2)])
    np.testing.assert_array_equal(counts, left_halves | (not ignore_outside))


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="k is 0; it must be a whole number of at least 1"):
        ATSSAssigner(k=0)
    with pytest.raises(ValueError, match="ATSS has one anchor a point; this grid has 3"):
        assign([[0, 0, 40, 40]], spec=GridSpec(anchor_ratios=(0.5, 1.0, 2.0)))


def assign_by_loop(boxes, image_shape, canvas_shape, strides, k, offset):
    """Algorithm 1 of the paper over every point, in float64: {point index: box index}."""
    sizes = [[-(-(-(-side // 32) * 32) // stride) for side in canvas_shape] for stride in strides]
    own = [-(-side // 32) * 32 for side in image_shape]
    corners, levels = [], []
    for level, stride in enumerate(strides):
        for row in range(sizes[level][0]):
            corners += [(column * stride, row * stride) for column in range(sizes[level][1])]
        levels += [level] * (sizes[level][0] * sizes[level][1])
    corners, levels = np.float64(corners), np.array(levels)
    valid = (corners[:, 0] < own[1]) & (corners[:, 1] < own[0])
    points = corners + offset * np.array(strides)[levels][:, np.newaxis]
    half = 4 * np.array(strides)[levels][:, np.newaxis]
    anchors = np.concatenate([points - half, points + half], axis=1)
    best_iou, owner = np.full(len(points), -1.0), {}
    for index, box in enumerate(np.float64(boxes)):
        distance = np.hypot(*(points - (box[:2] + box[2:]) / 2).T)
        of_levels = [np.flatnonzero(valid & (levels == level)) for level in range(len(strides))]
        candidates = np.concatenate([level[np.argsort(distance[level])[:k]] for level in of_levels])
        size = np.minimum(anchors[:, 2:], box[2:]) - np.maximum(anchors[:, :2], box[:2])
        intersection = np.prod(np.maximum(size, 0), axis=1)
        iou = intersection / (np.prod(box[2:] - box[:2]) + np.prod(2 * half, axis=1) ** 2 - intersection)
        threshold = iou[candidates].mean() + iou[candidates].std(ddof=1)
        for point in candidates:
            inside = min(*(points[point] - box[:2]), *(box[2:] - points[point])) > 0.01
            if inside and iou[point] >= threshold and iou[point] > best_iou[point]:
                best_iou[point], owner[int(point)] = iou[point], index
    return owner


@pytest.mark.parametrize(
    "image_shape, canvas_shape",
    [
        ((256, 256), (256, 256)),
        ((333, 517), (333, 517)),
        ((200, 90), (256, 320)),  # an image smaller than its batch
        ((32, 640), (32, 640)),
        ((60, 40), (60, 40)),  # levels of fewer than 9 points
    ],
)
@pytest.mark.parametrize(
    "k, levels, offset",
    [(9, (3, 4, 5, 6, 7), 0.0), (4, (3, 4, 5, 6, 7), 0.0), (2, (3, 4, 5, 6, 7), 0.0), (1, (3, 4, 5, 6, 7), 0.0)]
    + [(9, (2, 3, 4, 5), 0.0), (9, (3, 4, 5, 6, 7), 0.5)],
)
def test_against_a_loop_over_all_points(image_shape, canvas_shape, k, levels, offset):
    rng = np.random.default_rng(k)
    height, width = image_shape
    corners = rng.uniform(0, [width, height, width, height], (25, 4))
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    boxes = boxes.astype(np.float32)
    expected = assign_by_loop(boxes, image_shape, canvas_shape, [2**level for level in levels], k, offset)
    assert len(expected) > 3
    assert positive_points(boxes, None, canvas_shape, image_shape, levels, k, offset) == expected
