"""A base of detectors that train in seconds: that of tests/training, of any detector."""

import pathlib

from gfl_tf.build import default_model
from gfl_tf.config_files import load_config

TINY = pathlib.Path(__file__).parents[1] / "training" / "tiny.py"


def get_config(detector):
    config = load_config(TINY)
    backbone = config.model.backbone
    config.model = default_model(detector)
    config.model.backbone = backbone
    config.model.neck.channels = 16
    config.model.head.update(channels=16, num_convs=1, groups=4)
    config.model.grid.levels = (3, 4, 5)
    config.train.epochs = 1
    config.train.milestones = ()
    config.train.sample_images = 0
    return config
