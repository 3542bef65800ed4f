"""A step of a run whose numbers were not finite: kept in one file, and made again from it."""

import typing

import numpy as np
import tensorflow as tf

from gfl_tf import compat, files
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import weight_file
from gfl_tf.training import finite_step
from gfl_tf.training.compilation import compile_detector


class Replay(typing.NamedTuple):
    """A step, counted from 1, as it was in the run (`then`) and as it is now: its losses, {name: number}, and the names
    of the variables whose gradients are not finite. `images`: texts with the ids of its images."""

    step: int
    images: list[str]
    losses_then: dict[str, float]
    losses_now: dict[str, float]
    not_finite_then: list[str]
    not_finite_now: list[str]


def keep(file, model, step, batch, losses, not_finite, images):
    """Writes a step to a file, for `replay`.

    Args:
        file: path.
        model: compiled detector, as it was before the step.
        step: its number, counted from 1.
        batch: (images, labels), whole.
        losses: {name: number}.
        not_finite: names of the variables whose gradients are not finite.
        images: texts with the ids of each image.
    """
    pixels, labels = batch
    arrays = {f"weights/{name}": variable.numpy() for name, variable in weight_file.named_variables(model).items()}
    arrays.update({f"labels/{name}": value.numpy() for name, value in labels.items()})
    arrays.update({f"losses/{name}": np.float32(value) for name, value in losses.items()})
    arrays.update(images=pixels.numpy(), step=np.int64(step), not_finite=np.array(not_finite, str))
    arrays["image_ids"] = np.array(images, str)
    scale = compat.loss_scale(model.optimizer)
    if scale is not None:
        arrays["loss_scale"] = scale.numpy()
    file.parent.mkdir(exist_ok=True)
    with files.replacing(file, "wb", synced=True) as opened:
        np.savez(opened, **arrays)


def replay(run, config):
    """Makes the kept step of a `RunDirectory` again, on one device, without its update.

    Args:
        run: `RunDirectory`.
        config: that of the run; another precision shows whether it is the reason.

    Returns:
        `Replay`.

    Raises:
        ValueError: no step was kept, or its file is damaged.
    """
    if not run.diverged_step.exists():
        raise ValueError(f"{run.path} has no step to make again: the numbers of all were finite")
    arrays = weight_file.read(run.diverged_step)
    model = build_detector(config, load_weights=False)
    compile_detector(model, config, config.train.learning_rate)
    model.optimizer.build(model.trainable_variables)
    variables = weight_file.named_variables(model)
    for name, variable in variables.items():
        variable.assign(arrays[f"weights/{name}"])
    if "loss_scale" in arrays:
        compat.loss_scale(model.optimizer).assign(arrays["loss_scale"])
    batch = tf.constant(arrays["images"]), _part(arrays, "labels/", tf.constant)
    numbers = tf.function(lambda: finite_step.numbers(model, batch), autograph=False)()
    losses, not_finite = finite_step.read(model, variables, numbers)
    step, images, was = int(arrays["step"]), arrays["image_ids"].tolist(), arrays["not_finite"].tolist()
    return Replay(step, images, _part(arrays, "losses/", float), losses, was, not_finite)


def text(replayed):
    """A `Replay` for people."""
    lines = [f"images {'; '.join(replayed.images)}", f"step {replayed.step}, as it was in the run, and made again:"]
    for name, then in replayed.losses_then.items():
        lines.append(f"  {name}: {then:.9g}, {replayed.losses_now[name]:.9g}")
    then, now = replayed.not_finite_then, replayed.not_finite_now
    lines.append(f"gradients that are not finite: {len(then)}, {len(now)}")
    lines += [f"  {name}{'' if name in now else ' (in the run alone)'}" for name in then]
    lines += [f"  {name} (made again alone)" for name in now if name not in then]
    return "\n".join(lines)


def _part(arrays, prefix, convert):
    return {name.removeprefix(prefix): convert(value) for name, value in arrays.items() if name.startswith(prefix)}
