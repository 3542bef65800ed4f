"""COCO numbers: ground truth scores 1.0 in every odd case, hand-made cases score what they must."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from gfl_tf.data import pipeline
from gfl_tf.data.coco import load_coco
from gfl_tf.evaluation.coco import METRICS, CocoEvaluator, Detections, evaluate


def content_of(boxes_by_image, category_ids=(0,), crowds=()):
    """Images of 100 x 200; boxes_by_image: per image a list of (class, xywh). Annotation ids from 0."""
    annotations = []
    for image, boxes in enumerate(boxes_by_image):
        for label, bbox in boxes:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image,
                    "category_id": category_ids[label],
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": int(len(annotations) in crowds),
                }
            )
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 200} for i in range(len(boxes_by_image))],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"class{i}"} for i in category_ids],
    }


def record_of(boxes, classes, scores):
    return {"boxes": boxes, "classes": classes, "confidence": scores}


def feed_truth(evaluator, records=None):
    for record in records or evaluator.dataset.images:
        evaluator.add(record.id, record_of(record.boxes, record.classes, np.linspace(1.0, 0.5, len(record.boxes))))


ONE = [[(0, [10, 10, 20, 20])]]
SEVERAL = [[(0, [10, 10, 20, 20]), (1, [50, 20, 60, 60])], [], [(1, [0, 0, 199, 99]), (1, [5, 5, 8, 8])]]


@pytest.mark.parametrize("boxes, ids", [(ONE, (0,)), (ONE, (7,)), (SEVERAL, (0, 1)), (SEVERAL, (3, 90))])
def test_truth_scores_one(boxes, ids, capsys):
    evaluator = CocoEvaluator(load_coco(content_of(boxes, ids), None))
    feed_truth(evaluator)
    result = evaluator.result()
    assert tuple(result.metrics) == METRICS
    for name in ("AP", "AP50", "AP75", "AR100"):
        assert result.metrics[name] == pytest.approx(1.0)
    assert all(value == pytest.approx(1.0) for value in result.per_class.values())
    assert result.num_images == len(boxes)
    assert capsys.readouterr().out == ""


def test_from_an_annotation_file(tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps(content_of(SEVERAL, (3, 90))))
    evaluator = CocoEvaluator(load_coco(tmp_path / "coco.json", None, class_names=["class90", "class3"]))
    feed_truth(evaluator)
    result = evaluator.result()
    assert result.metrics["AP"] == pytest.approx(1.0)
    assert list(result.per_class) == ["class90", "class3"]
    first = next(iter(result.detections))
    assert first["category_id"] == 3 and first["bbox"] == [10, 10, 20, 20]


@pytest.mark.parametrize(
    "image_ids, category_ids",
    [((-1, 0, 5), (-1, 0)), ((10**20, 1, 2), (10**20, 3)), (("IMG_1", "b", ""), ("x", "y")), ((1.0, 2.5, 3), (0.5, 4))],
)
def test_ids_of_every_kind_score_and_come_back(image_ids, category_ids):
    """-1 among them, which stands for no image in batches."""
    content = content_of(SEVERAL, category_ids)
    for image, image_id in zip(content["images"], image_ids):
        image["id"] = image_id
    for annotation in content["annotations"]:
        annotation["image_id"] = image_ids[annotation["image_id"]]
    evaluator = CocoEvaluator(load_coco(json.loads(json.dumps(content)), None))
    feed_truth(evaluator)
    result = evaluator.result()
    assert result.metrics["AP"] == pytest.approx(1.0)
    ids = [(item["image_id"], item["category_id"]) for item in json.loads(json.dumps(list(result.detections)))]
    assert ids == [(a["image_id"], a["category_id"]) for a in content["annotations"]]
    assert [type(item) for item in ids[0]] == [type(image_ids[0]), type(category_ids[0])]


def test_a_class_that_the_file_lacks_has_no_score_and_no_detections():
    dataset = load_coco(content_of(SEVERAL, (3, 90)), None, class_names=["class3", "horse", "class90"])
    evaluator = CocoEvaluator(dataset)
    feed_truth(evaluator, dataset.images[1:])
    first = dataset.images[0]
    evaluator.add(first.id, record_of([*first.boxes, [0, 0, 9, 9]], [*first.classes, 1], [0.9, 0.8, 0.99]))
    result = evaluator.result()
    assert result.metrics["AP"] == pytest.approx(1.0)
    assert result.per_class == {"class3": pytest.approx(1.0), "horse": -1.0, "class90": pytest.approx(1.0)}
    assert "| horse   |    - |" in result.table()
    assert {item["category_id"] for item in result.detections} == {3, 90} and len(result.detections) == 4


def test_a_list_of_images_has_detections_and_no_score():
    content = content_of(ONE, (7,))
    del content["annotations"]
    evaluator = CocoEvaluator(load_coco(content, None))
    evaluator.add(0, record_of([[0, 0, 5, 5]], [0], [0.5]))
    result = evaluator.result()
    assert list(result.detections) == [{"image_id": 0, "category_id": 7, "bbox": [0, 0, 5, 5], "score": 0.5}]
    assert set(result.metrics.values()) == {-1.0} and result.table().split("\n")[2].strip("| ").startswith("-")


@pytest.mark.parametrize("added", [True, False])
def test_no_detections_score_zero(added):
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (3, 90)), None))
    if added:
        for image in range(3):
            evaluator.add(image, record_of(np.full([5, 4], -1), np.full([5], -1), np.full([5], -1)))
    result = evaluator.result()
    assert result.metrics["AP"] == 0.0 and result.metrics["AR100"] == 0.0
    assert result.per_class == {"class3": 0.0, "class90": 0.0}
    assert len(result.detections) == 0 and list(result.detections) == []


def test_no_objects_at_all():
    evaluator = CocoEvaluator(load_coco(content_of([[], []], (3, 90)), None))
    evaluator.add(0, record_of([[0, 0, 5, 5]], [0], [0.5]))
    result = evaluator.result()
    assert result.metrics["AP"] == -1.0
    assert "| class3  |    - |" in result.table()


def test_half_right():
    # Two objects of one class: one found with IoU 0.8, one missed. Precision is 1 up to recall
    # 0.5, that is at 51 of the 101 recall points, for the thresholds 0.50 to 0.80: 7 of 10.
    evaluator = CocoEvaluator(load_coco(content_of([[(0, [0, 0, 10, 10]), (0, [50, 50, 40, 40])]]), None))
    evaluator.add(0, record_of([[0, 0, 10, 8]], [0], [0.9]))
    metrics = evaluator.result().metrics
    assert metrics["AP50"] == pytest.approx(51 / 101)
    assert metrics["AP"] == pytest.approx(51 / 101 * 7 / 10)
    assert metrics["APs"] == pytest.approx(0.7) and metrics["APm"] == 0.0 and metrics["APl"] == -1.0
    assert metrics["AR100"] == pytest.approx(0.5 * 7 / 10)


def test_wrong_class_counts_against_its_own():
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (0, 1)), None))
    for record in evaluator.dataset.images:
        evaluator.add(record.id, record_of(record.boxes, np.zeros(len(record.boxes)), np.ones(len(record.boxes))))
    per_class = evaluator.result().per_class
    assert per_class["class1"] == 0.0 and 0.0 < per_class["class0"] <= 1.0


def test_per_class_follows_the_class_order():
    # pycocotools sorts by category id; here the classes are the other way round.
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (3, 90)), None, class_names=["class90", "class3"]))
    for record in evaluator.dataset.images:
        found = record.classes == 1
        evaluator.add(record.id, record_of(record.boxes[found], record.classes[found], np.ones(found.sum())))
    assert evaluator.result().per_class == {"class90": 0.0, "class3": pytest.approx(1.0)}


def test_crowds_are_neither_right_nor_wrong():
    boxes = [[(0, [10, 10, 20, 20]), (0, [100, 10, 90, 80])]]
    evaluator = CocoEvaluator(load_coco(content_of(boxes, crowds=(1,)), None))
    evaluator.add(0, record_of([[110, 20, 130, 40], [10, 10, 30, 30]], [0, 0], [0.9, 0.8]))
    assert evaluator.result().metrics["AP"] == pytest.approx(1.0)


def test_degenerate_truth_is_left_out():
    evaluator = CocoEvaluator(load_coco(content_of([[(0, [10, 10, 20, 20]), (0, [5, 5, 0, 0])]]), None))
    feed_truth(evaluator)
    assert evaluator.result().metrics["AP"] == pytest.approx(1.0)


def test_only_added_images():
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (0, 1)), None))
    feed_truth(evaluator, evaluator.dataset.images[:1])
    assert evaluator.result(only_added=True).metrics["AP"] == pytest.approx(1.0)
    assert evaluator.result().metrics["AP"] < 0.9
    feed_truth(evaluator, evaluator.dataset.images[1:])
    assert evaluator.result().metrics["AP"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((9, [], [], []), "9"),
        ((0, [[0, 0, 1, 1]], [2], [1]), "outside 0..1"),
        ((0, [[0, 0, 1, 1]], [0], []), "1 boxes, 1 classes and 0 scores"),
        ((0, [[0, 0, 1, np.nan]], [0], [1]), "not finite"),
    ],
)
def test_wrong_detections_are_refused(arguments, words):
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (0, 1)), None))
    with pytest.raises(ValueError, match=words):
        evaluator.add(arguments[0], record_of(*arguments[1:]))


def test_an_image_is_added_once():
    evaluator = CocoEvaluator(load_coco(content_of(ONE), None))
    feed_truth(evaluator)
    with pytest.raises(ValueError, match="image 0"):
        feed_truth(evaluator)


def test_a_full_disk_is_named(monkeypatch):
    evaluator = CocoEvaluator(load_coco(content_of(ONE), None))
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(evaluator, "_file", full)
        with pytest.raises(OSError, match="cannot hold the detections: No space left on device. TMPDIR sets"):
            feed_truth(evaluator)


def test_table_and_json(monkeypatch):
    evaluator = CocoEvaluator(load_coco(content_of(SEVERAL, (3, 90)), None))
    feed_truth(evaluator)
    result = evaluator.result()
    lines = result.table().split("\n")
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == list(METRICS[:6])
    assert [cell.strip() for cell in lines[2].strip("|").split("|")][0] == "100.0"
    assert json.loads(json.dumps(result.to_dict()))["num_detections"] == 4
    for block in (10000, 3):
        monkeypatch.setattr(Detections, "BLOCK", block)
        result.detections.write(file := io.StringIO())
        assert file.getvalue() == json.dumps(list(result.detections)) and len(list(result.detections)) == 4


def test_real_truth_scores_one(shared):
    for folder, name in (("bccd", "val"), ("coco_mini", "mini")):
        path = shared / "data" / folder
        evaluator = CocoEvaluator(load_coco(path / "annotations" / f"instances_{name}.json", path / name))
        feed_truth(evaluator)
        assert evaluator.result().metrics["AP"] == pytest.approx(1.0), folder


# Through the pipeline


class Oracle:
    """A detector that finds the rectangles of 255 - class in black images, in canvas pixels."""

    pad_value = (0.0, 0.0, 0.0)
    num_classes = 2

    def detect(self, images):
        def one(image):
            found = []
            for label in range(2):
                inside = tf.abs(image[..., 0] - (250.0 - 100.0 * tf.cast(label, tf.float32))) < 5
                ys, xs = tf.unstack(tf.cast(tf.where(inside), tf.float32), axis=-1)
                nothing = tf.size(xs) == 0
                box = [tf.reduce_min(xs), tf.reduce_min(ys), tf.reduce_max(xs) + 1, tf.reduce_max(ys) + 1]
                found.append(tf.where(nothing, tf.fill([4], -1.0), tf.stack(box)))
            return tf.stack(found)

        boxes = tf.map_fn(one, images)
        exists = boxes[..., 0] >= 0
        labels = tf.broadcast_to(tf.constant([0.0, 1.0]), tf.shape(exists))
        return {
            "boxes": boxes,
            "classes": tf.where(exists, labels, -1.0),
            "confidence": tf.where(exists, 0.9, -1.0),
            "num_detections": tf.math.count_nonzero(exists, axis=1),
        }


@pytest.fixture
def painted(tmp_path):
    """Black images of different shapes, some with rectangles, as a data set with ids from -4."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index, (height, width) in enumerate([(200, 300), (300, 200), (240, 320), (240, 320), (200, 300)]):
        pixels = np.zeros([height, width, 3], np.uint8)
        for label in range(2) if index != 3 else ():
            x, y = rng.integers(10, 30) + 90 * label, rng.integers(10, 100)
            w, h = rng.integers(40, 60, 2)
            pixels[y : y + h, x : x + w] = 250 - 100 * label
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": -index,
                    "category_id": label,
                    "bbox": [int(x), int(y), int(w), int(h)],
                }
            )
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        images.append({"id": -index, "file_name": f"{index}.png", "height": height, "width": width})
    categories = [{"id": 0, "name": "bright"}, {"id": 1, "name": "dim"}]
    return load_coco({"images": images, "annotations": annotations, "categories": categories}, tmp_path)


@pytest.mark.parametrize("scale", [(300, 200), (600, 400)])
def test_evaluate_maps_back_to_original_pixels(painted, scale):
    seen = []
    result = evaluate(Oracle(), painted, 2, scale, progress=lambda done, total: seen.append((done, total)))
    # Resizing blurs the edges by a pixel of the canvas: IoU of 0.9 at least.
    assert result.metrics["AP50"] == pytest.approx(1.0) and result.metrics["AP75"] == pytest.approx(1.0)
    assert result.metrics["AP"] > 0.85
    assert seen[-1] == (5, 5) and len(result.detections) == 8


def test_evaluate_with_given_batches(painted):
    batches = pipeline.evaluation_batches(painted, 3, scale=(300, 200), cache=True)
    oracle = Oracle()
    detect = tf.function(oracle.detect)
    first = evaluate(oracle, painted, batches=batches, detect=detect)
    second = evaluate(oracle, painted, batches=batches, detect=detect)
    assert second == first and list(second.detections) == list(first.detections)
    assert first.metrics["AP50"] == pytest.approx(1.0)


def test_evaluate_refuses_another_number_of_classes(painted):
    class Other(Oracle):
        num_classes = 3

    with pytest.raises(ValueError, match="3 classes.*bright, dim"):
        evaluate(Other(), painted, 2, (300, 200))
