"""The list of operations: from a config, in order, each with draws of its own, and all of them together."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import pipeline
from gfl_tf.data.augmentations import OPERATIONS, Augmentations, Operation, Sample, Stage, from_config
from gfl_tf.data.augmentations.crop import Crop
from gfl_tf.data.augmentations.cutout import Cutout
from gfl_tf.data.augmentations.flips import Flip, VerticalFlip
from gfl_tf.data.augmentations.resizing import Resize, Zoom
from gfl_tf.data.augmentations.warps import Rotation
from gfl_tf.data.coco import load_coco

pytestmark = pytest.mark.one_stack

# Every operation, surely made.
ALL = [
    cls(**({"probability": 1.0} if "probability" in {field.name for field in dataclasses.fields(cls)} else {}))
    for _, cls in sorted(OPERATIONS.items(), key=lambda item: (item[1].stage, item[0]))
    if cls not in (Resize, Zoom)  # as a mosaic, which is a zoom in part
]


def seed(number):
    return tf.constant([0, number], tf.int64)


# From a config


def test_names():
    assert set(OPERATIONS) >= {
        "blur", "color_jitter", "copy_paste", "crop", "cutout", "equalize", "flip", "mixup", "mosaic", "resize",
        "rotation", "sharpness", "shear", "vertical_flip", "zoom",
    }  # fmt: skip
    assert all(cls.name == name and cls.__doc__ for name, cls in OPERATIONS.items())


def test_from_config():
    entries = (dict(name="crop", smallest=0.5), dict(name="zoom", factor=[0.5, 2]), dict(name="flip"))
    assert from_config(entries) == (Crop(0.5, 0.5), Zoom([0.5, 2]), Flip(0.5))
    assert from_config(()) == ()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_fields_are_plain_values(name):
    operation = OPERATIONS[name]()
    entry = json.loads(json.dumps({"name": name, **dataclasses.asdict(operation)}))
    (again,) = from_config([entry])
    assert {"name": name, **dataclasses.asdict(again)} == entry


@pytest.mark.parametrize(
    "entry, message",
    [
        ("flip", r"here\[1\]: 'flip' is no dict with the name of an operation"),
        ({"probability": 0.5}, r"here\[1\]: .* is no dict with the name"),
        (
            {"name": "flipp"},
            r"here\[1\]: there is no operation 'flipp'; choose one of blur, color_jitter, copy_paste, crop, ",
        ),
        ({"name": ["flip"]}, r"there is no operation \['flip'\]"),
        ({"name": "crop", "size": 3, "chance": 1}, "crop has no field chance, size; it has probability, smallest"),
        ({"name": "resize", "size": 3}, "resize has no field size; it has none"),
        ({"name": "crop", "probability": 1.5}, r"here\[1\]: crop: probability is 1.5; a number from 0 to 1 is needed"),
        ({"name": "crop", "smallest": 0}, "crop: smallest is 0; a number above 0"),
        ({"name": "crop", "smallest": 1.1}, "crop: smallest is 1.1"),
        ({"name": "zoom", "factor": (2, 1)}, r"zoom: factor is \(2, 1\); \(low, high\) with 0 < low <= high is needed"),
        ({"name": "zoom", "factor": (0, 1)}, "zoom: factor"),
        ({"name": "zoom", "factor": 2}, "zoom: factor is 2"),
        ({"name": "zoom", "factor": ("a", 1)}, "zoom: factor"),
        ({"name": "cutout", "probability": -0.1}, "cutout: probability"),
        ({"name": "flip", "probability": "0.5"}, "flip: probability is '0.5'"),
        ({"name": "flip", "probability": True}, "flip: probability is True"),
        ({"name": "flip", "probability": float("nan")}, "flip: probability is nan"),
        ({"name": "vertical_flip", "probability": None}, "vertical_flip: probability is None"),
        ({"name": "color_jitter", "contrast": (0.5,)}, "color_jitter: contrast"),
        ({"name": "rotation", "degrees": 181}, "rotation: degrees is 181; a number from 0 to 180"),
        ({"name": "rotation", "degrees": -1}, "rotation: degrees"),
        ({"name": "shear", "horizontal": 1.5}, "shear: horizontal"),
        ({"name": "shear", "horizontal": 1, "vertical": 1}, "shear: vertical is 1"),
        ({"name": "equalize", "probability": 2}, "equalize: probability"),
        ({"name": "sharpness", "factor": (-1, 1)}, r"sharpness: factor is \(-1, 1\); .* 0 <= low <= high"),
        ({"name": "blur", "sigma": (0, 1)}, r"blur: sigma is \(0, 1\); .* 0 < low <= high"),
        ({"name": "blur", "sigma": (1, float("inf"))}, "blur: sigma"),
        ({"name": "mosaic", "probability": 2}, "mosaic: probability is 2"),
        ({"name": "mosaic", "factor": (0, 1)}, r"mosaic: factor is \(0, 1\); .* 0 < low <= high"),
        ({"name": "mosaic", "num": 4}, "mosaic has no field num; it has probability, factor"),
        ({"name": "mixup", "probability": -1}, "mixup: probability is -1"),
        ({"name": "mixup", "share": 0.5}, "mixup: share is 0.5"),
        ({"name": "mixup", "share": (0.5, 1.5)}, r"mixup: share is \(0.5, 1.5\); high of at most 1 is needed"),
        ({"name": "copy_paste", "probability": "1"}, "copy_paste: probability is '1'"),
        ({"name": "copy_paste", "num": 11}, "copy_paste: num is 11; an integer from 1 to 10 is needed"),
        ({"name": "copy_paste", "num": 2.0}, "copy_paste: num is 2.0"),
        ({"name": "copy_paste", "num": True}, "copy_paste: num is True"),
    ],
)
def test_what_cannot_be_is_named(entry, message):
    with pytest.raises(ValueError, match=message):
        from_config([dict(name="resize"), entry], field="here")


@pytest.mark.parametrize("entries", [None, "flip", {"name": "flip"}])
def test_what_is_no_list(entries):
    with pytest.raises(ValueError, match="here is .*; a list of operations is needed"):
        from_config(entries, field="here")


def test_an_operation_is_known_once_it_is_defined():
    @dataclasses.dataclass(frozen=True)
    class Darken(Operation, name="darken", num_draws=1):
        """Test."""

        darkest: float = 0.5

        def __call__(self, sample, draws, frame):
            return sample._replace(image=sample.image * self.darkest)

    try:
        augment = Augmentations(from_config([dict(name="darken", darkest=0.25)]))
        found = augment(tf.fill([4, 4, 3], 8.0), tf.zeros([0, 4]), tf.zeros([0]), (4, 4), (32, 32), seed(0))
        np.testing.assert_allclose(found.image, 2.0)
        with pytest.raises(ValueError, match="an operation is named 'flip' already: .*Flip"):
            type("Other", (Operation,), {}, name="flip")
    finally:
        del OPERATIONS["darken"]


def test_who_mixes_can_be_told_not_to():
    with pytest.raises(ValueError, match="blend mixes in other images; it needs a field probability"):
        type("Blend", (Operation,), {}, name="blend", num_others=1)
    assert "blend" not in OPERATIONS, "it is known though it was refused"


# Order


def test_the_resize_stands_by_itself_or_is_in_the_list():
    sizes = []
    image = tf.zeros([30, 40, 3], tf.uint8)
    for operations in ([], [Resize()], [Crop(0.0), Flip()], [Crop(0.0), Resize(), Flip()], [Zoom((1, 1)), Flip()]):
        found = Augmentations(operations)(image, tf.zeros([0, 4]), tf.zeros([0]), (80, 60), (64, 96), seed(0))
        assert found.image.dtype == tf.float32
        sizes.append(tuple(found.image.shape))
    assert set(sizes) == {(60, 80, 3)}


@pytest.mark.parametrize(
    "operations, message",
    [
        (
            [Flip(), Crop()],
            r"augmentations\[1\]: crop works before the resize, and flip .* after .*; list crop",
        ),
        ([Flip(), Cutout(), Zoom()], r"augmentations\[2\]: zoom works as the resize, and cutout .*; list zoom first"),
        ([Zoom(), Crop()], r"augmentations\[1\]: crop works before the resize, and zoom .* as the resize"),
        ([Resize(), Zoom()], r"augmentations\[1\]: zoom is a resize, as resize before it; keep one"),
        ([Flip], r"augmentations\[0\] is .*Flip.*; an operation is needed"),
        ([dict(name="flip")], r"augmentations\[0\] is .*flip.*from_config makes them of dicts"),
    ],
)
def test_orders_that_cannot_be(operations, message):
    with pytest.raises(ValueError, match=message):
        Augmentations(operations)


def test_the_order_is_the_list_s():
    image = tf.constant(np.random.default_rng(0).uniform(0, 255, [40, 40, 3]), tf.float32)
    arguments = (image, tf.zeros([0, 4]), tf.zeros([0]), (40, 40), (64, 64), seed(3))
    turned = Augmentations([Rotation(1.0, 30.0), Cutout(1.0)], (9, 9, 9))(*arguments).image.numpy()
    holed = Augmentations([Cutout(1.0), Rotation(1.0, 30.0)], (9, 9, 9))(*arguments).image.numpy()
    # Holes made last are black and upright.
    assert (turned == 0).all(axis=-1).sum() > 200
    assert (holed == turned).all(axis=-1).mean() < 0.95


# Draws


def drawn(operations, monkeypatch, number=0):
    """{(name, how many of that name before): its draws}"""
    found = {}

    def record(self, sample, draws, frame):
        count = sum(name == self.name for name, _ in found)
        found[self.name, count] = tuple(draws.numpy())
        return sample

    with monkeypatch.context() as patch:
        for cls in OPERATIONS.values():
            patch.setattr(cls, "__call__", record)
        augment = Augmentations(operations)
        augment(tf.zeros([8, 8, 3]), tf.zeros([0, 4]), tf.zeros([0]), (8, 8), (32, 32), seed(number))
    return found


def test_no_operation_shifts_the_draws_of_another(monkeypatch):
    everything = drawn(ALL, monkeypatch)
    assert len(everything) == len(ALL) + 1 - any(operation.stage == Stage.RESIZE for operation in ALL)
    for left_out in ALL:
        rest = drawn([operation for operation in ALL if operation is not left_out], monkeypatch)
        rest.pop(("resize", 0), None)
        assert rest == {key: draws for key, draws in everything.items() if key[0] != left_out.name}
    in_canvas = [operation for operation in ALL if operation.stage == Stage.CANVAS]
    backwards = drawn(in_canvas[::-1], monkeypatch)
    assert all(everything[key] == draws for key, draws in backwards.items() if key[0] != "resize")


def test_each_draws_its_own_numbers(monkeypatch):
    found = drawn([*ALL, Flip(0.5), VerticalFlip(), Flip(0.5)], monkeypatch)
    assert {("flip", 0), ("flip", 1), ("flip", 2), ("vertical_flip", 1)} <= set(found)
    numbers = list(itertools.chain.from_iterable(found.values()))
    assert len(set(numbers)) == len(numbers) > 50 and 0 <= min(numbers) and max(numbers) < 1
    assert found != drawn([*ALL, Flip(0.5), VerticalFlip(), Flip(0.5)], monkeypatch, number=1)


# All together


@pytest.fixture(scope="module")
def augmented():
    """All operations, traced once for images of any size."""
    spec = [tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([None, 4]), tf.TensorSpec([None])]
    spec += [tf.TensorSpec([2], tf.int32), tf.TensorSpec([2], tf.int32), tf.TensorSpec([2], tf.int64)]
    return tf.function(Augmentations(ALL), input_signature=spec)


@pytest.mark.parametrize("hw", [(1, 1), (1, 40), (3, 2), (90, 2)])
def test_tiny_images(augmented, hw):
    boxes = tf.constant([[0.0, 0, hw[1], hw[0]]])
    canvas = tf.constant([96, 96])
    for number in range(5):
        image, kept, classes = augmented(
            tf.fill([*hw, 3], tf.constant(9, tf.uint8)),
            boxes,
            tf.zeros([1]),
            tf.constant([90, 60]),
            canvas,
            seed(number),
        )
        assert min(image.shape) >= 1 and (image.shape[:2] <= canvas.numpy()).all()
        assert np.isfinite(image).all()
        assert len(kept) == len(classes)
        assert (kept.numpy() >= 0).all() and (kept.numpy() <= [*image.shape[1::-1]] * 2).all()


def test_same_seed_same_result():
    image = tf.constant(np.random.default_rng(0).integers(0, 256, [50, 60, 3]), tf.uint8)
    arguments = (image, tf.constant([[5.0, 6, 40, 45]]), tf.zeros([1]), (90, 60), (96, 96))
    first, again, other = (Augmentations(ALL)(*arguments, seed(number)) for number in (4, 4, 5))
    assert isinstance(first, Sample)
    tf.nest.map_structure(np.testing.assert_array_equal, first, again)
    assert first.image.shape != other.image.shape or np.abs(first.image - other.image).max() > 0


@pytest.fixture(scope="module")
def coco_mini(shared):
    folder = shared / "data" / "coco_mini"
    return load_coco(folder / "annotations" / "instances_mini.json", folder / "mini")


def batches_of(dataset, count, augmentations):
    options = dict(scale=(333, 200), seed=2, pad_value=(1, 2, 3), cache=True, augmentations=augmentations)
    batches = pipeline.training_batches(dataset, 4, **options)
    return [tf.nest.map_structure(np.asarray, batch) for batch in itertools.islice(iter(batches), count)]


def test_real_images(coco_mini):
    whole = batches_of(coco_mini, 7, [Flip()])
    cropped = batches_of(coco_mini, 7, [Crop(1.0, 0.75), Flip()])
    holed = batches_of(coco_mini, 7, [Crop(1.0, 0.75), Cutout(1.0), Flip()])
    is_empty, lost, changed = [], 0, 0
    for (image, labels), (part, part_labels), (holes, hole_labels) in zip(whole, cropped, holed):
        assert image.shape == part.shape
        tf.nest.map_structure(np.testing.assert_array_equal, part_labels, hole_labels)
        for row in range(4):
            boxes, hw = part_labels["boxes"][row], part_labels["image_shape"][row]
            present = part_labels["classes"][row] >= 0
            assert (hw <= part.shape[1:3]).all()
            # Flips subtract in float32.
            assert (boxes[present] > -1e-3).all() and (boxes[present] < np.tile(hw[::-1], 2) + 1e-3).all()
            assert (part[row, hw[0] :] == [1, 2, 3]).all() and (part[row, :, hw[1] :] == [1, 2, 3]).all()
            content = part[row, : hw[0], : hw[1]]
            assert (content[-1] != [1, 2, 3]).any() and (content[:, -1] != [1, 2, 3]).any()
            before = labels["classes"][row] >= 0
            is_empty.append(not before.any())
            assert present.any() == before.any() and present.sum() <= before.sum()
            lost += before.sum() - present.sum()
            changed += (hw != labels["image_shape"][row]).any()
            black = (holes[row] != part[row]).any(axis=-1)
            assert (holes[row][black] == 0).all() and black.any() and not black[hw[0] :].any()
    assert any(is_empty) and lost > 0 and changed > 14
