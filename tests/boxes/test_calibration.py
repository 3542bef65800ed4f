"""`EdgeCalibration` as part of a detector: its arithmetic by hand, and that it goes wherever the detector goes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.boxes.calibration import EdgeCalibration

HALF_PX = EdgeCalibration(
    stated=(2.0, 4.0),
    found=(1.0, 3.0),
    size_limits=(50.0,),
    levels=(0.5, 0.9),
    edge_powers=(1.0, 0.5),
    edge_factors=((1.0, 2.0), (3.0, 4.0)),
    box_powers=(0.0, 1.0),
    box_factors=((5.0, 6.0), (7.0, 8.0)),
)


def test_by_hand():
    """A line from 0 to (2, 1), to (4, 3), and on in proportion; a box of 20 x 20 and one of 50 x 50."""
    stddev = tf.constant([[1.0, 2.0, 3.0, 8.0], [4.0, 4.0, 4.0, 4.0]])
    boxes = tf.constant([[0.0, 0.0, 20.0, 20.0], [10.0, 10.0, 60.0, 60.0]])
    found = HALF_PX(stddev, boxes)
    np.testing.assert_allclose(found["edge_stddev"], [[0.5, 1, 2, 6], [3, 3, 3, 3]], rtol=1e-6)
    small, large = found["edge_interval"].numpy()
    np.testing.assert_allclose(small, [[0.5, 1, 2, 6], 3 * np.sqrt([0.5, 1, 2, 6])], rtol=1e-6)
    np.testing.assert_allclose(large, [[6.0] * 4, [4 * 3**0.5] * 4], rtol=1e-6)
    small, large = found["box_interval"].numpy()
    np.testing.assert_allclose(small, [[5.0] * 4, [3.5, 7, 14, 42]], rtol=1e-6)
    np.testing.assert_allclose(large, [[6.0] * 4, [24.0] * 4], rtol=1e-6)


def test_some_of_its_levels():
    one = HALF_PX.at((0.9,))
    assert one.levels == (0.9,) and one.edge_factors == ((3.0, 4.0),) and one.box_powers == (1.0,)
    with pytest.raises(ValueError, match="no intervals of 0.8: the model was calibrated for 0.5, 0.9"):
        HALF_PX.at((0.8,))


@pytest.mark.parametrize(
    "change, named",
    [
        (dict(stated=(4.0, 2.0)), "stated is"),
        (dict(found=(1.0,)), "found is"),
        (dict(found=(3.0, 1.0)), "found is"),
        (dict(levels=(0.5, 2.0)), "levels is"),
        (dict(edge_powers=(1.0,)), "edge_powers is"),
        (dict(box_factors=((1.0,), (1.0,))), "box_factors is"),
    ],
)
def test_wrong_numbers(change, named):
    with pytest.raises(ValueError, match=named):
        EdgeCalibration(**{**HALF_PX.get_config(), **change})


def test_with_a_detector(tiny_gfl, tmp_path):
    """`predict`, `detect` and a saved model give intervals; without a calibration there are none."""
    images = np.random.default_rng(0).uniform(0, 255, [1, 64, 96, 3]).astype(np.float32)
    before = tiny_gfl.predict(images, verbose=0)
    assert "edge_interval" not in before
    try:
        tiny_gfl.edge_calibration = HALF_PX
        found = tiny_gfl.predict(images, verbose=0)
        tiny_gfl.save(tmp_path / "model.keras")
    finally:
        tiny_gfl.edge_calibration = None
    count = int(found["num_detections"][0])
    assert count and found["edge_interval"].shape == found["box_interval"].shape == (1, 20, 2, 4)
    expected = HALF_PX(tf.constant(before["edge_stddev"][0, :count]), tf.constant(before["boxes"][0, :count]))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name][0, :count], value, rtol=1e-4)
    assert (found["edge_interval"][0, count:] == -1).all()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.edge_calibration == HALF_PX
    with pytest.raises(TypeError, match="edge_calibration is an EdgeCalibration or None"):
        tiny_gfl.edge_calibration = 0.5
