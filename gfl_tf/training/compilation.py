"""A run's detector, ready to be trained as its config says."""

import keras
import ml_collections

from gfl_tf.detectors.detector import Detector
from gfl_tf.training import teacher
from gfl_tf.training.optimizers import build_optimizer


def compile_detector(
    model: Detector,
    config: ml_collections.ConfigDict,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
) -> None:
    """Compiles it with its optimizer and its teacher, in the strategy's scope; `config`: complete.

    Raises:
        ValueError: the teacher does not fit, or `train.recompute` and `train.micro_batches` not the model.
    """
    train = config.train
    model.compile(
        optimizer=build_optimizer(train, learning_rate, model, config.precision),
        distillation=teacher.distillation(config, model),
        recompute=train.recompute,
        micro_batches=train.micro_batches,
    )
