"""A teacher for runs of `tiny.py`: untrained, with distributions that a student does not have."""

import keras
import ml_collections
import numpy as np

from gfl_tf.build import build_detector
from gfl_tf.training.run_dir import WEIGHTS, RunDirectory


def make(config: ml_collections.ConfigDict, path, seed=0) -> str:
    """Writes a run directory as a training leaves one, and returns its path.

    Args:
        config: of the student, with the data's classes; the teacher is twice as wide.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    config.train.teacher = ""
    config.model.neck.channels = config.model.head.channels = 32
    keras.utils.set_random_seed(seed)
    model = build_detector(config)
    bias = model.head.box.bias
    bias.assign(np.random.default_rng(seed).normal(0, 2, bias.shape))
    run = RunDirectory(path)
    run.start(config)
    for which in WEIGHTS:
        run.save_weights(model, which)
    return str(path)
