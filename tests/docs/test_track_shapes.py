"""The example that tracks shapes, where its libraries are installed."""

import importlib.util
import pathlib

import numpy as np
import pytest

pytestmark = pytest.mark.one_stack

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
NUM_FRAMES = 12


@pytest.fixture(scope="module")
def example():
    for library in ("filterpy", "scipy"):
        pytest.importorskip(library, reason=f"docs/track_shapes.py needs {library}, which is not installed")
    spec = importlib.util.spec_from_file_location("track_shapes", DOCS / "track_shapes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_exact_detections_of_one_shape_give_its_track(example):
    """Two pixels a frame to the right: one track, counted from its third frame on, without error, also over a gap."""
    boxes = np.array([10.0, 20, 40, 60]) + np.arange(NUM_FRAMES)[:, np.newaxis] * [2, 0, 2, 0]
    found = [{"boxes": box[np.newaxis], "classes": np.array([1]), "edge_stddev": np.full([1, 4], 0.1)} for box in boxes]
    found[6] = {name: value[:0] for name, value in found[6].items()}
    shown = example.track(found, lambda of_frame: of_frame["edge_stddev"], acceleration=0.01)
    assert [len(of_frame) for of_frame in shown] == [0, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    assert {number for of_frame in shown for number, _ in of_frame} == {0}
    truth = [(box[np.newaxis], np.array([True])) for box in boxes]
    scored = example.score([(None, truth)], [shown])
    assert scored["switches"] == 0 and scored["MOTA"] == pytest.approx(9 / 12) and scored["error"] < 0.05


def test_boxes_of_a_video_lie_in_its_frames(example):
    frames, truth = example.make_video(np.random.default_rng(0), 3, (96, 128))
    assert frames.shape == (3, 96, 128, 3) and len(truth) == 3
    for boxes, is_seen in truth:
        assert is_seen.any() and (boxes[is_seen][:, 2:] - boxes[is_seen][:, :2] >= 6).all()
        assert boxes.min() >= 0 and (boxes <= [128, 96, 128, 96]).all()
