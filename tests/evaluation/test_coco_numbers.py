"""Class by class and in little memory, the numbers are those of pycocotools over everything, to the last digit."""

import subprocess
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gfl_tf.evaluation import coco_numbers

pytestmark = pytest.mark.one_stack


def _scene(rng, num_images=30, num_classes=5, num_found=40):
    """Rows of truth, with crowds, and of detections near it, with ties; no object of class 3, nothing of class 4."""
    boxes, found = [], []
    for image in range(num_images):
        count = rng.poisson(5)
        truth = np.exp(rng.uniform(1, 5, [count, 4]))  # sides of 3 to 148 pixels: small, medium and large
        labels = rng.integers(0, 3, count)
        boxes += [(image, label, box, rng.random() < 0.1) for label, box in zip(labels, truth)]
        near = np.concatenate([truth * rng.uniform(0.8, 1.25, truth.shape), np.exp(rng.uniform(1, 5, [num_found, 4]))])
        classes = np.concatenate([labels, rng.integers(0, 4, num_found)])
        found += [(image, label, box, round(rng.random(), 1)) for label, box in zip(classes, near)]

    def rows(dtype, listed):
        image_id, category_id, bbox, last = map(np.array, zip(*listed))
        columns = dict(image_id=image_id, category_id=category_id, bbox=bbox, area=bbox[:, 2] * bbox[:, 3])
        return coco_numbers.rows(dtype, **columns, **{dtype.names[-1]: last})

    return rows(coco_numbers.TRUTH, boxes), rows(coco_numbers.FOUND, found), num_images, num_classes


def _by_pycocotools(truth, found, num_images, num_classes):
    def dicts(rows):
        columns = {name: rows[name].tolist() for name in rows.dtype.names if name != "id"}
        return [{"id": i, **dict(zip(columns, row))} for i, row in enumerate(zip(*columns.values()), 1)]

    whole = COCO()
    whole.dataset = {
        "images": [{"id": index} for index in range(num_images)],
        "annotations": dicts(truth),
        "categories": [{"id": label} for label in range(num_classes)],
    }
    whole.createIndex()
    scorer = COCOeval(whole, whole.loadRes(dicts(found)), "bbox")
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    precision = [scorer.eval["precision"][:, :, label, 0, -1] for label in range(num_classes)]
    return scorer.stats, [each[each > -1].mean() if (each > -1).any() else -1.0 for each in precision]


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_pycocotools_own(seed):
    truth, found, num_images, num_classes = _scene(np.random.default_rng(seed))
    stats, per_class, precision = coco_numbers.score(truth, found, num_classes)
    assert precision.shape == (10, 101, num_classes) and precision[:, :, 3:].max() == -1
    expected, expected_per_class = _by_pycocotools(truth, found, num_images, num_classes)
    assert stats.tolist() == expected.tolist() and per_class.tolist() == expected_per_class
    assert min(stats) > 0 and per_class[3:].tolist() == [-1, -1]


PEAK = """
import sys
import numpy as np
from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.evaluation.coco import CocoEvaluator

def used(what):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(what)) / 2**20

rng, num_classes = np.random.default_rng(0), int(sys.argv[1])

def boxes(count):
    corners = rng.uniform(0, 400, [count, 2])
    return np.float32(np.concatenate([corners, corners + np.exp(rng.uniform(2, 5.5, [count, 2]))], axis=1))

nothing = np.zeros([0, 4], np.float32), np.zeros([0], np.int32)
images = []
for index in range(5000):
    truth = boxes(rng.poisson(7.3))  # as COCO has it
    labels, areas = rng.integers(0, num_classes, len(truth)), np.ones(len(truth), np.float32)
    images.append(ImageRecord(index, f"{index}.jpg", 480, 640, truth, labels, areas, *nothing))
dataset = CocoDataset(images, [str(i) for i in range(num_classes)], list(range(num_classes)), LoadReport())
before = used("VmRSS")
evaluator = CocoEvaluator(dataset)
for record in images:
    classes = rng.choice(num_classes, min(15, num_classes), replace=False)
    found = {"boxes": boxes(100), "classes": rng.choice(classes, 100), "confidence": rng.uniform(0, 1, 100)}
    evaluator.add(record.id, found)
evaluator.result().detections.write(open(sys.argv[2], "w"))
print(used("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", [80, 1])
def test_5000_images_of_100_detections_take_half_a_gibibyte_at_most(num_classes, tmp_path):
    command = [sys.executable, "-c", PEAK, str(num_classes), str(tmp_path / "detections.json")]
    peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(peak) < 0.5
