"""COCO's numbers where each image counts as often as a weight says, for many sets of weights at once.

pycocotools matches detections with objects once, image by image, as for one evaluation. What follows from the matches
is computed here, for all sets of weights together.
"""

import typing

import numpy as np
from pycocotools.cocoeval import COCOeval

_CHUNK = 1 << 20  # numbers in an array: it lies in the processor's cache, or nearly


def of_class(scorer: COCOeval, weights: np.ndarray) -> np.ndarray:
    """The numbers of one class.

    They are those of pycocotools on a data set that has each image as often as its weight says, under new ids, but for
    the rounding of means and for the order of equal scores.

    Args:
        scorer: `coco_numbers.matched` of a class that some image has; an id of an image is a column of `weights`.
        weights: [S, I], whole numbers from 0 on.

    Returns:
        float64 [S, 12] in the order of `COCOeval.stats`; NaN where there is no such object.
    """
    params = scorer.params
    images, areas = np.array(params.imgIds), _areas(scorer)
    longest = max(len(images), *(max(len(area.false_image), len(area.image)) for area in areas))
    step = max(1, _CHUNK // longest)
    chunks = (weights[start : start + step, images] for start in range(0, len(weights), step))
    return np.concatenate([_numbers(areas, chunk.astype(np.float64), params.recThrs) for chunk in chunks])


def of_all(numbers: np.ndarray) -> np.ndarray:
    """[S, 12], the means of `of_class` [S, C, 12] over the classes that have such objects; NaN where none has."""
    known = ~np.isnan(numbers)
    count = known.sum(axis=1)
    total = np.where(known, numbers, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


class _Area(typing.NamedTuple):
    """The detections of one class by falling score, against the objects of a range of sizes, on I images.

    Most are false whatever IoU is asked for: they are only counted. The others are E events.
    """

    objects: np.ndarray  # [I], how many each image has
    false_image: np.ndarray  # of those that are false at all T thresholds of the IoU
    false_before: np.ndarray  # [E], how many of these are surer
    image: np.ndarray  # [E]
    is_right: np.ndarray  # bool [T, E]
    is_counted: np.ndarray  # bool [T, E]: right or false
    share_right: np.ndarray  # [3, E], of the thresholds, where it is among the 1, 10, 100 surest of its image; else 0


def _areas(scorer: COCOeval) -> list[_Area]:
    """Of objects of all sizes, of small, medium and large ones."""
    count = len(scorer.params.imgIds)
    return [
        _area(scorer.evalImgs[index * count : (index + 1) * count], scorer.params)
        for index in range(len(scorer.params.areaRng))
    ]


def _area(matches, params):
    order = np.argsort(-_joined(matches, "dtScores"), kind="mergesort")  # as `COCOeval.accumulate`
    counts = [len(match["dtScores"]) for match in matches]
    image = np.repeat(np.arange(len(matches)), counts)[order]
    rank = np.concatenate([np.arange(count) for count in counts])[order]
    is_counted = _joined(matches, "dtIgnore")[:, order] == 0
    is_right = _joined(matches, "dtMatches")[:, order] & is_counted
    # Whether a box outside the range of sizes counts may hang on the threshold, as it counts where it finds an object.
    is_event = is_right.any(axis=0) | (is_counted.any(axis=0) & ~is_counted.all(axis=0))
    is_false = is_counted.all(axis=0) & ~is_event
    is_first = rank[is_event] < np.reshape(params.maxDets, [-1, 1])
    return _Area(
        np.array([np.sum(match["gtIgnore"] == 0) for match in matches]),
        image[is_false],
        np.cumsum(is_false)[is_event],
        image[is_event],
        is_right[:, is_event],
        is_counted[:, is_event],
        is_right[:, is_event].mean(axis=0) * is_first,
    )


def _joined(matches, name):
    return np.concatenate([match[name] for match in matches], axis=-1)


def _numbers(areas, weights, recalls):
    """[S, 12] of weights [S, I]."""
    objects = [weights @ area.objects for area in areas]
    precision = [_precision(area, weights, count, recalls) for area, count in zip(areas, objects)]
    recall = [_recall(area, weights, count) for area, count in zip(areas, objects)]
    of_any_size = precision[0]
    columns = [of_any_size.mean(axis=0), of_any_size[0], of_any_size[5]]  # the thresholds are 0.5, 0.55, ...
    columns += [of_size.mean(axis=0) for of_size in precision[1:]]
    columns += [*recall[0].T, *(of_size[:, -1] for of_size in recall[1:])]
    return np.stack(columns, axis=1)


def _precision(area, weights, objects, recalls):
    """float64 [T, S], the mean over `recalls` of the best precision at that recall or a higher one.

    The precision rises at right detections alone, so it is asked for at these. Between two of them, the recall passes
    some of `recalls`; at each of these stands the same precision.
    """
    false = np.cumsum(weights[:, area.false_image], axis=1)
    false = np.concatenate([np.zeros([len(weights), 1]), false], axis=1)[:, area.false_before]
    of_event, total = weights[:, area.image], np.maximum(objects, 1).reshape(-1, 1)
    made = np.full([len(area.is_right), len(weights)], np.nan)
    for threshold, (is_right, is_counted) in enumerate(zip(area.is_right, area.is_counted)):
        counted = false[:, is_right] + np.cumsum(of_event * is_counted, axis=1)[:, is_right]
        right = np.cumsum(of_event[:, is_right], axis=1)
        precision = right / (counted + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        passed = np.diff(_at_most(recalls, right / total), axis=1, prepend=0)
        made[threshold] = (best * passed).sum(axis=1) / len(recalls)
    made[:, objects == 0] = np.nan
    return made


def _recall(area, weights, objects):
    """float64 [S, 3], with 1, 10 and 100 detections an image."""
    made = weights[:, area.image] @ area.share_right.T / np.maximum(objects, 1).reshape(-1, 1)
    made[objects == 0] = np.nan
    return made


def _at_most(recalls, values):
    """How many of `recalls`, which are equally far apart from 0 to 1, are at most each of the values in 0..1.

    In effect `np.searchsorted(recalls, values, "right")`, in a fifth of the time.
    """
    nearest = np.rint(values * (len(recalls) - 1)).astype(int)
    return nearest + (recalls[nearest] <= values)
