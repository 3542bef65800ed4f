"""What a run does where its numbers are not finite, and what it keeps of such steps.

diverged/steps.json: in the order in which they were met,
    {"did": "skip", "step", "what"}: a step without an update
    {"did": "go_back", "to", "what"}: the run went on from the checkpoint of the step "to"
diverged/step.npz: the last step whose loss or gradients were not finite, see `gfl_tf.training.replay`
"""

import json

import numpy as np
import tensorflow as tf

from gfl_tf import files

# Steps left out one after the other that end a run: no later step mends its weights.
MAX_SKIPS_IN_A_ROW = 10


class DivergedError(RuntimeError):
    """The loss, a gradient, or a number that is kept, became infinite or not a number.

    Args:
        what: names the number and the step.
    """

    def __init__(self, what):
        super().__init__(
            f"{what}. The last checkpoint is from before it. Go on from there with "
            "--config.train.on_divergence=go_back, which lowers the learning rate, or =skip, which leaves such steps "
            "out. Or train into a new run directory with a lower --config.train.learning_rate, more "
            "--config.train.warmup_steps, or gradient clipping such as --config.train.clip_norm=10."
        )
        self.what = what


class Divergence:
    """What `train.on_divergence` says, done and kept in a run directory.

    Args:
        run: `RunDirectory`.
        train: `config.train`.
        progress: `Progress`.
        workers: `Workers`, which all do the same; the first one reads and writes the files.
    """

    def __init__(self, run, train, progress, workers):
        self._file = run.diverged_steps
        self._workers = workers
        self._train = train
        self._progress = progress
        self._steps = workers.of_first(read_steps(self._file) if workers.is_first else None)
        self.goes_back = train.on_divergence == "go_back"
        # The steps from which on the learning rate is lower, once for each of them.
        self.lowered_from = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False)
        self._lower()

    @property
    def skipped(self):
        """How many steps of the run were left out so far."""
        return len(self._of("skip"))

    def went_on_from(self, step):
        """The run goes on from a checkpoint of this step, or from nothing (None): later steps are made again."""
        before = self._steps
        self._steps = [
            each for each in before if step is not None and (each["did"] == "go_back" or each["step"] <= step)
        ]
        if len(self._steps) < len(before):
            self._write()
        self._lower()

    def left_out(self, step, losses, not_finite, images):
        """To be called after a step, counted from 1, that made no update.

        Args:
            losses: {name: number} of it.
            not_finite: names of the variables whose gradients are not finite.
            images: texts with the ids of each image of its batch.

        Raises:
            DivergedError: unless such a step is skipped, and not too many one after the other.
        """
        what = f"{_what(step, losses, not_finite)}; images {'; '.join(images)}"
        if self._train.on_divergence != "skip":
            raise DivergedError(what)
        self._add({"did": "skip", "step": step, "what": what})
        self._progress.say(f"{what}. The step is skipped, {self.skipped} so far.")
        last = [each["step"] for each in self._of("skip")[-MAX_SKIPS_IN_A_ROW:]]
        if last == list(range(step - MAX_SKIPS_IN_A_ROW + 1, step + 1)):
            raise DivergedError(f"{what}. {MAX_SKIPS_IN_A_ROW} steps one after the other were skipped")

    def check_go_back(self, error):
        """Raises a `DivergedError` again where the run does not go back, or did so too often."""
        if not self.goes_back:
            raise error
        if len(self._of("go_back")) >= self._train.max_go_backs:
            often = f"config.train.max_go_backs = {self._train.max_go_backs}"
            raise DivergedError(f"{error.what}. The run went back {often} times already") from error

    def went_back(self, error, step):
        """To be called when the checkpoint of a step was restored because of a `DivergedError`."""
        self._add({"did": "go_back", "to": step, "what": error.what})
        self.went_on_from(step)
        times = len(self._of("go_back"))
        factor = f"{self._train.go_back_factor**times:.3g}"
        self._progress.say(
            f"{error.what}. Back to step {step}, from where on the learning rate is {factor} of what it was "
            f"({times} of at most {self._train.max_go_backs} times)."
        )

    def _of(self, did):
        return [each for each in self._steps if each["did"] == did]

    def _add(self, entry):
        self._steps.append(entry)
        self._write()

    def _write(self):
        if not self._workers.is_first:
            return
        self._file.parent.mkdir(exist_ok=True)
        files.write(self._file, json.dumps(self._steps, indent=2) + "\n", synced=True)

    def _lower(self):
        self.lowered_from.assign(np.array([each["to"] for each in self._of("go_back")], np.int64))


def read_steps(file):
    """The content of a diverged/steps.json; [] where there is none, or a damaged one, which is warned of."""
    return files.read_good(file, _read, [])


def _read(file):
    content = files.read_json(file)
    numbers = {"skip": "step", "go_back": "to"}
    try:
        whole = isinstance(content, list) and all(each[numbers[each["did"]]] >= 0 and each["what"] for each in content)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{file} is damaged: it does not list steps")
    return content


def _what(step, losses, not_finite):
    wrong = "loss is" if not np.isfinite(losses["loss"]) else "gradients are"
    parts = ", ".join(f"{name} {value:.4g}" for name, value in losses.items() if name != "loss")
    # None of them where it is only their norm.
    gradients = f"; of {len(not_finite)} variables no finite gradient, such as {not_finite[0]}" if not_finite else ""
    return f"The {wrong} not finite at step {step}: loss {losses['loss']:.4g} ({parts}){gradients}"
