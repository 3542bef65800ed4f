"""The walk of docs/architecture.md, computed again: its numbers are those of the code."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.build import PARTS, build_detector, default_model
from gfl_tf.checkpoints import mmdet, places, weight_file
from gfl_tf.config_files import load_config
from gfl_tf.ops import boxes as box_ops
from gfl_tf.ops import distances

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CANVAS = (128, 160)
BOX = (41, 22, 101, 74)
CLASS, NUM_CLASSES = 1, 3
TENSOR, VARIABLE = "bbox_head.gfl_reg.weight", "head/box/kernel"


def rows(section):
    """{first cell: the numbers in the other cells} of the tables of a section, without their headings."""
    body = PAGE.split(f"### {section}\n")[1].split("\n### ")[0].split("\n## ")[0]
    tables = re.findall(r"^\|(?: *-+:? *\|)+\n((?:\|.*\n)+)", body, re.MULTILINE)
    lines = [line.strip("|").split("|") for table in tables for line in table.splitlines()]
    numbers = {cells[0].strip(): re.findall(r"-?\d+(?:\.\d+)?", " ".join(cells[1:])) for cells in lines}
    assert numbers, f"docs/architecture.md has no table under {section}"
    return numbers


def check(section, computed):
    """Compares a section's numbers with {first cell: numbers}, each as exactly as the page says it."""
    stated = rows(section)
    assert list(stated) == list(computed), section
    for name, texts in stated.items():
        values = np.concatenate([np.ravel(value) for value in computed[name]]).astype(np.float64)
        assert len(texts) == len(values), f"{section}, {name}: the page says {texts}, the code {values}"
        for text, value in zip(texts, values):
            decimals = len(text.partition(".")[2])
            assert abs(float(text) - value) <= 0.501 * 10.0**-decimals, (
                f"docs/architecture.md, {section}, {name}: the page says {text}, the code {value}"
            )


@pytest.fixture(scope="module")
def config():
    config = load_config("gfl_r50_fpn_1x")
    config.model.num_classes = NUM_CLASSES
    config.model.backbone.arguments.depth = 18  # which the walk does not look at
    return config


@pytest.fixture(scope="module")
def model(config):
    return build_detector(config, load_weights=False)


@pytest.fixture(scope="module")
def grid(model):
    return model.grid.on(CANVAS)


@pytest.fixture(scope="module")
def assignment(model, grid):
    return model.assigner(tf.constant([[BOX]], tf.float32), tf.constant([[CLASS]]), grid)


@pytest.fixture(scope="module")
def positives(assignment):
    """Indices of the positive places, sorted."""
    return np.sort(assignment.place.numpy()[assignment.is_positive.numpy()])


@pytest.fixture(scope="module")
def best(grid, positives):
    """The positive place whose anchor overlaps the box most."""
    ious = box_ops.iou(grid.places.at(positives).anchors, tf.constant(BOX, tf.float32))
    return int(positives[np.argmax(ious)])


@pytest.fixture(scope="module")
def outputs(model, grid, positives, best):
    """Raw outputs [1, P, ...] of the page's imagined head, as nearly right as single bins can be."""
    size = int(grid.size)
    classification = np.full((1, size, NUM_CLASSES), -6, np.float32)
    classification[0, positives, CLASS] = 0
    classification[0, best, CLASS] = 1
    box = np.zeros((1, size, 4, model.boxes.num_bins + 1), np.float32)
    for place in positives:
        for side, bin_ in enumerate(np.floor(in_strides(grid, place) + 0.5).astype(int)):
            box[0, place, side, bin_] = 6
    return {"classification": tf.constant(classification), "box": tf.constant(box.reshape(1, size, -1))}


def in_strides(grid, place):
    places = grid.places.at(int(place))
    return (distances.boxes_to_distances(places.points_px, tf.constant(BOX, tf.float32)) / places.strides).numpy()


def test_the_table_of_parts_names_every_field_and_kind():
    table = PAGE.split("## The parts\n")[1].split("\n## ")[0]
    cells = [line.split("|") for line in table.splitlines() if line.startswith("|")]
    lines = {line[1].strip(" `"): line for line in cells}
    for field, kinds in PARTS.items():
        assert field in lines, f"the table of parts has no {field}"
        named = set(re.findall(r"`(\w+)`", lines[field][3]))
        assert named == (set(kinds) if isinstance(kinds, dict) else set()), field
        for file in re.findall(r"`([\w/]+\.py)`", lines[field][4]):
            assert (ROOT / "gfl_tf" / file).is_file(), file


def test_every_file_that_is_named_exists():
    for name in re.findall(r"`((?:gfl_tf|tests|docs|configs)/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists(), name


def test_grid(grid):
    sizes, shapes = grid.level_sizes.numpy(), grid.level_shapes.numpy()
    first = np.cumsum(sizes) - sizes
    levels = zip(grid.spec.levels, grid.strides, shapes, sizes, first)
    check("The grid", {**{f"P{level}": values for level, *values in levels}, "all": [grid.size]})


def test_assigner(grid, assignment, positives, best):
    chosen = grid.places.at(positives)
    ious = box_ops.iou(chosen.anchors, tf.constant(BOX, tf.float32)).numpy()
    own = {f"place {index}": [chosen.points_px[i], ious[i]] for i, index in enumerate(positives)}
    check("The assigner", {"candidates": [assignment.place.shape[1]], "positives": [len(positives)], **own})
    assert all(np.array_equal(anchor[2:] - anchor[:2], [64, 64]) for anchor in chosen.anchors.numpy())
    assert f"place {best} " in PAGE


def test_coder(model, grid, best, outputs):
    places = grid.places.at(best)
    output = outputs["box"][0, best]
    box = model.boxes.decode(output, places)
    computed = {
        "point": [places.points_px, places.strides],
        "distances, pixels": [in_strides(grid, best) * 8],
        "targets, bins": [in_strides(grid, best)],
        "probability of the right bin": [tf.reduce_max(tf.nn.softmax(tf.reshape(output, [4, -1])), axis=-1)[0]],
        "decoded box": [box],
        "its IoU": [box_ops.iou(box, tf.constant(BOX, tf.float32))],
        "edge_stddev": [model.boxes.extras(output, places)["edge_stddev"]],
    }
    check("The coder", computed)


def test_losses(model, outputs):
    boxes, classes = tf.constant([[BOX]], tf.float32), tf.constant([[CLASS]])
    losses = model.detection_losses(outputs, boxes, classes, tf.constant([CANVAS]), tf.constant(CANVAS))
    check("The losses", {name: [value] for name, value in losses.items()})


def test_decoder(model, outputs, positives):
    candidates = model.candidates(outputs, tf.constant(CANVAS))
    found = model.prediction_decoder.suppress(candidates)
    count = int(found["num_detections"][0])
    assert count == 1 and found["classes"][0, 0] == CLASS
    computed = {
        "candidates": [tf.math.count_nonzero(candidates["scores"])],
        "detections": [count],
        "box": [found["boxes"][0, 0]],
        "confidence": [found["confidence"][0, 0]],
    }
    check("The decoder", computed)


def test_field(config, model, grid, best):
    stated = {}
    for width in (1.0, 0.5):
        changed = config.copy_and_resolve_references()
        changed.model.boxes.bin_width = width
        boxes = build_detector(changed, load_weights=False).boxes if width != 1 else model.boxes
        assert boxes.bin_width == width
        reach = boxes.num_bins * boxes.bin_width
        places = grid.places.at(best)
        target = tf.constant(BOX, tf.float32)
        # The logits whose loss is smallest for this target are the logarithms of its two weights.
        weights = np.maximum(1 - np.abs(in_strides(grid, best)[:, None] / width - np.arange(17)), 1e-9)
        logits = tf.constant(np.log(weights).reshape(-1), tf.float32)
        np.testing.assert_allclose(boxes.decode(logits, places), target, atol=1e-3)
        stated[f"`bin_width = {width:g}`"] = [in_strides(grid, best) / width, reach, reach * 8]
    check("One field", stated)
    assert default_model("gfl").boxes.bin_width == 1.0


def test_tensor(model):
    module, layer = next(pair for pair in mmdet.detector_modules(model) if pair[0] == "bbox_head.gfl_reg")
    place = places.places_of(module, layer)[0]
    variable = weight_file.named_variables(model)[VARIABLE]
    assert place.names[0] == TENSOR and place.variable is variable
    check("One tensor", {f"`{TENSOR}`": [place.shape], f"`{VARIABLE}`": [variable.shape]})
    value = np.zeros(place.shape, np.float32)
    value[18, 5, 0, 2] = 1.5  # that of the page
    place.assign(value)
    assert variable.numpy()[0, 2, 5, 18] == 1.5 and np.count_nonzero(variable) == 1
    assert "[18, 5, 0, 2]" in PAGE and "[0, 2, 5, 18]" in PAGE
    bins = model.boxes.num_bins + 1
    assert divmod(18, bins) == (1, 1)
