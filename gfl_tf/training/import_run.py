"""A run directory made from a published PyTorch checkpoint."""

import dataclasses
import os

import ml_collections

from gfl_tf import detector_weights
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import mmdet, places, state_dict
from gfl_tf.data.coco import COCO_CLASS_NAMES
from gfl_tf.texts import first_ones
from gfl_tf.training import config as configs
from gfl_tf.training import run_dir as run_dirs


@dataclasses.dataclass(frozen=True)
class Imported:
    """What `import_run` made.

    Attributes:
        report: what was loaded and what was not.
        checkpoint: the file.
        run_dir: path of the run directory.
        weights_file: path of the weights in it.
        class_names: of the run.
    """

    report: places.Report
    checkpoint: state_dict.Checkpoint
    run_dir: str
    weights_file: str
    class_names: tuple

    def summary(self) -> str:
        """What to tell the user: what was loaded, what was not, and which commands follow."""
        report, file, run_dir = self.report, self.checkpoint, self.run_dir
        about = ", ".join(f"{name} {value}" for name, value in file.metadata.items())
        beside = ", ".join(map(repr, file.ignored)) or "nothing"
        lines = [
            f"{file.path}: {about or 'the file does not say where it is from'}",
            f"{report} ({report.parameters:,} numbers)",
            f"ignored {len(report.ignored)} counters and constants, and beside the weights {beside}",
            f"{len(self.class_names)} classes: {', '.join(first_ones(self.class_names, 8))}",
            f"Written to {run_dir}. Go on with:",
            f"    gfl-predict --run_dir={run_dir} --images=FOLDER --output=predictions",
            f"    gfl-evaluate --run_dir={run_dir} --annotations=FILE.json --images=FOLDER",
            f"    gfl-export --run_dir={run_dir}",
            f"    gfl-train --config=FILE.py --run_dir=NEW --config.model.weights={self.weights_file}    (fine-tuning)",
        ]
        return "\n".join(lines)


def import_run(
    config: ml_collections.ConfigDict | None,
    checkpoint: str | os.PathLike,
    run_dir: str | os.PathLike,
    ema: bool | None = None,
    partial: bool = False,
    prefix: str | None = None,
) -> Imported:
    """Makes a run directory, as `gfl-train` leaves one, of a PyTorch checkpoint.

    Args:
        config: ConfigDict of the model that the file was trained with.
        checkpoint: .pth file, or another that `state_dict.read` takes.
        run_dir: path of a directory that is not there yet, or empty.
        ema, partial, prefix: see `mmdet.load_mmdet`.

    Returns:
        `Imported`.

    Raises:
        ValueError: the file, or config, or the two together cannot be used; nothing is written then.
        OSError: there is no such file.
    """
    if config is None:
        raise ValueError("which model is it? Give its --config=NAME")
    if os.path.exists(run_dir) and (not os.path.isdir(run_dir) or os.listdir(run_dir)):
        raise ValueError(f"{run_dir} is there already; choose another --run_dir")
    config = configs.complete(config)
    file = state_dict.read(checkpoint, ema)
    config.data.class_names = class_names = _class_names(config, file)
    config.model.backbone.weights = ""
    model = build_detector(config, load_weights=False)
    try:
        report = mmdet.load_checkpoint(model, file, partial, prefix)
    except places.Misfit as error:
        raise error.explained(model, "--partial") from error
    detector_weights.warn_of_other_classes(file.class_names, class_names, checkpoint)
    run = run_dirs.RunDirectory(run_dir)
    weights_file = run.weights_file("best")
    config.model.weights = str(weights_file.absolute())  # what a training of this run starts from
    run.start(config)
    for which in run_dirs.WEIGHTS:
        run.save_weights(model, which)
    return Imported(report, file, str(run_dir), str(weights_file), class_names)


def _class_names(config, file):
    """Those that the config has; else the file's or COCO's, whichever first has as many as the model."""
    count, given = config.model.num_classes, tuple(config.data.class_names)
    for names in (given,) if given else (file.class_names, COCO_CLASS_NAMES):
        if names and len(names) == count:
            return tuple(names)
    raise ValueError(
        f"the names of the {count} classes are not known: {file.path} has {len(file.class_names or ())} names, "
        f"config.data.class_names {len(given)}. Set --config.data.class_names=\"('cat', 'dog')\" to "
        f"{count} names, or --config.model.num_classes to the number of classes of the file"
    )
