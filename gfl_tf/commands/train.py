r"""Trains a detector as a config file describes it, or goes on with a training that was stopped.

Examples:
    gfl-train --config=gflv2_shapes --run_dir=runs/shapes
    gfl-train --config=small --run_dir=runs/mine --config.data.path=mine --config.train.epochs=50
    gfl-train --config=small --run_dir=runs/mine \
        --config.data.train_annotations=boxes.csv --config.data.train_images=photos
    gfl-train --run_dir=runs/mine                (goes on after Ctrl-C, a crash or a power cut)
    gfl-train --run_dir=runs/mine --config.data.train_images=/new/train          (goes on with images that have moved)
    tensorboard --logdir=runs                    (watches)

Every field of the config can be set with --config.PART.FIELD=VALUE; gfl_tf/training/fields.py explains the fields of
data and train. The run directory then holds all that gfl-evaluate, gfl-predict and gfl-export need, a picture of the
first batch with its boxes (first_batch.jpg) and, at the end, a report (report.md).
"""

import signal
import sys

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    start.define_config("Config, by name or file; not needed to go on with the run in --run_dir.", required=False)
    flags.DEFINE_string("run_dir", None, "Where the run is kept. A run that is there already goes on.")
    flags.DEFINE_enum(
        "strategy", "auto", ["auto", "one_device", "mirrored"], "mirrored: on all GPUs; auto: if there are several."
    )
    flags.DEFINE_string("data_service", None, "HOST:PORT of a tf.data service that makes the batches; docs/scale.md.")
    flags.mark_flag_as_required("run_dir")


def main():
    config = start.load_config(FLAGS.run_dir)
    from gfl_tf.training import fit, report

    try:
        outcome = fit.train(config, FLAGS.run_dir, FLAGS.strategy, FLAGS.data_service)
    except (OSError, ValueError, report.DivergedError) as error:
        raise SystemExit(f"train: {error}") from error
    except KeyboardInterrupt:  # the second Ctrl-C
        print("train: stopped at once; the run goes on from its last checkpoint", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if outcome.stopped_by:
        sys.exit(128 + outcome.stopped_by)  # as a shell reports a program that a signal ended


def run():
    start.run(define_flags, main)
