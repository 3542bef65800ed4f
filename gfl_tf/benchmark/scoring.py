"""COCO's numbers: what is ours around pycocotools. As a program, the memory of one of the two: scoring WHICH IMAGES."""

import contextlib
import importlib.util
import io
import subprocess
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.rounds import Parts, once
from gfl_tf.data.coco import CocoDataset, load_coco
from gfl_tf.evaluation import coco, coco_numbers, coco_rows
from gfl_tf.serving import latency

# As many as COCO's val2017 has on average, and as many detections as its numbers count.
CLASSES, OBJECTS, DETECTIONS = 80, 7.3, 100
SIDE = 640  # of the images, in pixels
ROUNDS = 3  # they take minutes at 5,000 images
AROUND, SAME = Goal(most=1.1), Goal(most=0.0)


class Synthetic:
    """Images with objects, and detections of which some are right, as COCO's JSON and as gfl_tf has them."""

    def __init__(self, num_images: int):
        rng = np.random.default_rng(0)
        self.annotations, self.results, self.found = [], [], []
        for image in range(num_images):
            objects = self._boxes(rng, rng.poisson(OBJECTS))
            labels = rng.integers(0, CLASSES, len(objects))
            near = rng.integers(0, len(objects), DETECTIONS // 2) if len(objects) else np.zeros(0, int)
            boxes = np.concatenate([objects[near], self._boxes(rng, DETECTIONS - len(near))])
            boxes[: len(near)] += rng.normal(0, 0.05, (len(near), 4)) * np.tile(boxes[: len(near), 2:], 2)
            classes = np.concatenate([labels[near], rng.integers(0, CLASSES, DETECTIONS - len(near))])
            boxes = _exact(np.clip(boxes, 0, SIDE / 2))
            scores = _exact(np.sort(rng.uniform(0, 1, DETECTIONS))[::-1], 2**20)
            self._add(image, _exact(objects), labels, boxes, classes, scores)
        images = [
            {"id": index, "width": SIDE, "height": SIDE, "file_name": f"{index}.jpg"} for index in range(num_images)
        ]
        categories = [{"id": label, "name": str(label)} for label in range(CLASSES)]
        self.truth = {"images": images, "annotations": self.annotations, "categories": categories, "info": {}}

    @staticmethod
    def _boxes(rng, count):
        """x, y, width and height: small, medium and large."""
        corners, sides = rng.uniform(0, SIDE / 2, (count, 2)), np.exp(rng.uniform(2, np.log(SIDE / 2), (count, 2)))
        return np.concatenate([corners, sides], axis=1)

    def _add(self, image, objects, labels, boxes, classes, scores):
        for box, label in zip(objects.tolist(), labels.tolist()):
            number = {"id": len(self.annotations) + 1, "image_id": image, "category_id": label}
            self.annotations.append({**number, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
        for box, label, score in zip(boxes.tolist(), classes.tolist(), scores.tolist()):
            self.results.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        self.found.append({"boxes": corners, "classes": classes, "confidence": scores})

    def dataset(self) -> CocoDataset:
        return load_coco(self.truth, None)


def _exact(values, parts=8):
    """In whole `parts` of 1, which float32 has exactly, and their sums: a detector's boxes are float32 anyway."""
    return np.round(values * parts) / parts


def measure(bench: Bench) -> Result:
    """`Settings.images` images with 100 detections each."""
    result = Result()
    synthetic = Synthetic(bench.settings.images)
    dataset = synthetic.dataset()
    evaluator = added(dataset, synthetic)
    _, found = evaluator.found
    truth = coco_rows.truth(dataset, range(len(dataset.images)))
    parts = {
        "adding": lambda: added(dataset, synthetic),
        "result": evaluator.result,
        "its scorer": lambda: coco_numbers.score(truth, found, CLASSES),
        "pycocotools": lambda: scored(synthetic),
        **_faster(synthetic, result),
    }
    rounds = bench.take_turns(parts, repeats=min(ROUNDS, bench.settings.repeats)).added("ours", ("adding", "result"))
    result.rounds.append(rounds)
    of = f"{bench.settings.images} images x {DETECTIONS}"
    result.rows += [Row(of, name, rounds.time(name), "s") for name in parts]
    result.rows += [
        Row(of, "adding and result / its scorer", rounds.ratio("ours", "its scorer"), goal=AROUND),
        Row(of, "adding and result / pycocotools alone", rounds.ratio("ours", "pycocotools"), goal=AROUND),
    ]
    difference = abs(evaluator.result().metrics["AP"] - scored(synthetic)[0])
    result.rows.append(Row(of, "AP, difference from pycocotools'", once(difference), goal=SAME))
    for which in PEAKS:
        result.rows.append(Row(of, f"memory of {which}, above rest", once(_peak(which, bench.settings.images)), "MiB"))
    return result


def added(dataset: CocoDataset, synthetic: Synthetic) -> coco.CocoEvaluator:
    """An evaluator that has all detections."""
    evaluator = coco.CocoEvaluator(dataset)
    for image, found in enumerate(synthetic.found):
        evaluator.add(image, found)
    return evaluator


def scored(synthetic: Synthetic, make_coco: type = COCO, make_scorer: type = COCOeval) -> np.ndarray:
    """COCO's 12 numbers by pycocotools, or a package like it, as its documentation has it."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = make_coco()
        truth.dataset = synthetic.truth
        truth.createIndex()
        scorer = make_scorer(truth, truth.loadRes([dict(item) for item in synthetic.results]), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return np.array(scorer.stats[:12])


def _faster(synthetic, result) -> Parts:
    if not importlib.util.find_spec("faster_coco_eval"):
        result.missing.append("faster-coco-eval: pip install faster-coco-eval")
        return {}
    import faster_coco_eval

    return {"faster-coco-eval": lambda: scored(synthetic, faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)}


PEAKS = {
    "adding and result": lambda synthetic: added(synthetic.dataset(), synthetic).result(),
    "pycocotools": scored,
}


def _peak(which, num_images):
    command = [sys.executable, "-m", "gfl_tf.benchmark.scoring", which, str(num_images)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def _print_peak(which, num_images):
    synthetic = Synthetic(int(num_images))
    rest = latency.resident_mib()
    PEAKS[which](synthetic)
    print(latency.peak_mib() - rest)


if __name__ == "__main__":
    _print_peak(*sys.argv[1:])
