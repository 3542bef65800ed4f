"""The precisions of a run take finite steps, and leave Keras's own setting alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.build import build_detector, default_model
from gfl_tf.detectors.distillation import Distillation
from gfl_tf.training.config import complete
from gfl_tf.training.optimizers import build_optimizer

BATCH = (
    tf.random.stateless_uniform((2, 64, 64, 3), seed=(1, 2), maxval=255.0),
    {
        "boxes": tf.constant([[[4.0, 4, 40, 50], [20, 30, 60, 60]], [[8, 8, 30, 30], [-1, -1, -1, -1]]]),
        "classes": tf.constant([[1.0, 0], [2, -1]]),
        "image_shape": tf.constant([[64, 64], [64, 48]]),
    },
)


@pytest.mark.parametrize(
    ("precision", "detector"),
    [
        ("mixed_float16", "gfl"),
        pytest.param("mixed_bfloat16", "vfnet", marks=pytest.mark.slow),
        pytest.param("mixed_bfloat16", "gfl", marks=pytest.mark.slow),
        pytest.param("mixed_float16", "vfnet", marks=pytest.mark.slow),
    ],
)
def test_finite_steps(tiny_config, precision, detector):
    if detector == "vfnet":
        backbone = tiny_config.model.backbone
        tiny_config.model = default_model("vfnet")
        tiny_config.model.backbone = backbone
        tiny_config.model.neck.channels = 16
        tiny_config.model.head.update(channels=16, num_convs=1, groups=4, deformable=True)
    config = complete(tiny_config)
    config.precision = precision
    before = keras.mixed_precision.global_policy().name
    model = build_detector(config)
    assert keras.mixed_precision.global_policy().name == before
    assert model.neck.compute_dtype == precision.removeprefix("mixed_")
    distillation = Distillation(build_detector(config)) if detector == "gfl" else None
    model.compile(optimizer=build_optimizer(config.train, 0.01, model, precision), distillation=distillation)
    start = [variable.numpy() for variable in model.trainable_variables]
    step = tf.function(model.train_step, autograph=False)
    losses = [float(step(BATCH)["loss"]) for _ in range(5)]  # float16: the first ones may only find the loss scale
    assert np.all(np.isfinite(losses))
    weights = model.get_weights()
    assert all(np.all(np.isfinite(weight)) for weight in weights)
    assert {weight.dtype for weight in weights} == {np.dtype("float32")}
    moved = [not np.array_equal(one, other) for one, other in zip(start, model.trainable_variables)]
    assert np.mean(moved) > 0.9
