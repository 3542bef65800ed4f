"""What fields of a config must be to each other."""

import ml_collections

from gfl_tf.data import batching
from gfl_tf.training import fields

_DATA, _TRAIN = fields.default_data(), fields.default_train()


def check(config: ml_collections.ConfigDict) -> None:
    """Raises ValueError for fields, each right by itself, that cannot be together.

    Args:
        config: with all fields of `data` and `train`.
    """
    for relation in RELATIONS:
        wrong = relation(config)
        if wrong:
            raise ValueError(wrong)


def check_warmup(train: ml_collections.ConfigDict, steps_per_epoch: int) -> None:
    """Raises ValueError where the learning rate would never come to its full value; `train`: `config.train`."""
    steps = train.epochs * steps_per_epoch
    if train.warmup_share == 1 and train.warmup_steps > steps:
        raise ValueError(
            f"config.train.warmup_steps is {train.warmup_steps}, but the training has {steps} steps: lower it, or "
            "limit it to a share of them, such as --config.train.warmup_share=0.1"
        )


def _milestones_are_before_the_end(config):
    train = config.train
    if train.schedule == "step" and train.milestones and train.milestones[-1] >= train.epochs:
        return (
            f"config.train.milestones is {train.milestones}, but the training ends after config.train.epochs = "
            f"{train.epochs}: name epochs before that, or () for none"
        )


def _only_sgd_has_a_rate_of_biases(config):
    train = config.train
    if train.optimizer != "sgd" and train.bias_learning_rate_factor != 1.0:
        return (
            f"config.train.bias_learning_rate_factor is {train.bias_learning_rate_factor}, which only "
            "config.train.optimizer='sgd' can do: set it to 1.0"
        )


def _only_sgd_has_a_momentum(config):
    train = config.train
    if train.optimizer != "sgd" and train.momentum != _TRAIN.momentum:
        return (
            f"config.train.momentum is {train.momentum}, which config.train.optimizer={train.optimizer!r} does not "
            f"have: set it to {_TRAIN.momentum}, or the optimizer to 'sgd'"
        )


def _only_a_range_has_sides(config):
    data = config.data
    if data.num_sides != _DATA.num_sides and not data.short_side_range and not data.long_side_range:
        return (
            f"config.data.num_sides is {data.num_sides}, but there is no range of which it would take sides: set "
            f"short_side_range or long_side_range, or it to {_DATA.num_sides}"
        )


def _averaging_has_whole_cycles(config):
    train = config.train
    if train.swa_epochs % train.swa_cycle_epochs:
        return (
            f"config.train.swa_epochs is {train.swa_epochs}; it must be 0 or a multiple of "
            f"config.train.swa_cycle_epochs, which is {train.swa_cycle_epochs}"
        )


def _averaging_is_not_cut_short(config):
    if config.train.swa_epochs and config.train.patience:
        return (
            "config.train.swa_epochs and config.train.patience are both set, but a training that loses patience does "
            "not come to its averaging: set one of them to 0"
        )


def _weights_have_one_average(config):
    if config.train.swa_epochs and config.train.ema_momentum:
        return (
            "config.train.swa_epochs and config.train.ema_momentum are both set, but only one average of the weights "
            "can be evaluated and kept: set one of them to 0"
        )


def _short_sides_are_not_above_long_ones(config):
    data = config.data
    if not data.scale:  # it is chosen later
        return None
    try:
        batching.training_scales(data.scale, data.short_side_range, data.long_side_range, data.num_sides)
    except ValueError as error:
        return f"config.data.scale, short_side_range and long_side_range: {error}"


def _only_a_teacher_distils(config):
    changed = {name: value for name, value in config.train.distillation.items() if value != _TRAIN.distillation[name]}
    if changed and not config.train.teacher:
        name, value = next(iter(changed.items()))
        return (
            f"config.train.distillation.{name} is {value}, but there is no teacher: name one with "
            "--config.train.teacher=RUN"
        )
    return None


RELATIONS = (
    _milestones_are_before_the_end,
    _only_sgd_has_a_rate_of_biases,
    _only_sgd_has_a_momentum,
    _only_a_range_has_sides,
    _averaging_has_whole_cycles,
    _averaging_is_not_cut_short,
    _weights_have_one_average,
    _short_sides_are_not_above_long_ones,
    _only_a_teacher_distils,
)
