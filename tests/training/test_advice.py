import ml_collections
import pytest

from gfl_tf.training.advice import advice

CONFIG = ml_collections.ConfigDict({"train": {"epochs": 15}, "data": {"scale": (320, 256)}})


def _evaluations(*scores, small=0.5, classes=()):
    return [
        {"step": 10 * (i + 1), "metrics": {"AP": score, "APs": small}, "per_class_AP": dict(classes)}
        for i, score in enumerate(scores)
    ]


@pytest.mark.parametrize(
    "scores, expected",
    [
        ((0.1, 0.2, 0.3, 0.4), "AP rose to the end, by 10.0 since step 30: train longer, --config.train.epochs=30."),
        ((0.1, 0.395, 0.4), None),
        ((0.1, 0.395, 0.392, 0.4), None),
        ((0.1, 0.4, 0.2, 0.2), "AP fell by 20.0 after step 20: more images, or stronger augmentation"),
        ((0.1, 0.4, 0.38, 0.39), None),
        ((0.0, 0.0), "Nothing was found. Do the boxes of first_batch.jpg"),
        ((0.4,), None),
    ],
)
def test_length_of_the_training(scores, expected):
    found = advice(_evaluations(*scores), CONFIG)
    assert len(found) == bool(expected) and (not expected or found[0].startswith(expected))


@pytest.mark.parametrize("small, is_named", [(0.19, True), (0.2, False), (-1.0, False)])
def test_small_objects(small, is_named):
    found = advice(_evaluations(0.4, small=small), CONFIG)
    assert len(found) == is_named and all("AP of 19.0" in line and "scale=(480, 384)" in line for line in found)


def test_weak_classes():
    classes = {"cat": 0.4, "dog": 0.1, "owl": 0.05, "cow": -1.0}
    assert advice(_evaluations(0.4, classes=classes), CONFIG) == [
        "The weakest of the 3 classes that occur: owl (5.0), dog (10.0). More images of them help most."
    ]
