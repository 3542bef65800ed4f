r"""Trains a detector as a config file describes it, or goes on with a training that was stopped.

Examples:
    gfl-train --config=gflv2_shapes --run_dir=runs/shapes
    gfl-train --config=small --run_dir=runs/mine --config.data.path=mine --config.train.epochs=50
    gfl-train --config=small --run_dir=runs/mine \
        --config.data.train_annotations=boxes.csv --config.data.train_images=photos
    gfl-train --run_dir=runs/mine                (goes on after Ctrl-C, a crash or a power cut)
    gfl-train --run_dir=runs/mine --config.data.train_images=/new/train          (goes on with images that have moved)
    gfl-train --run_dir=runs/mine --replay       (makes a step whose numbers were not finite again)
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
        "strategy",
        "auto",
        ["auto", "one_device", "mirrored", "multi_worker", "tpu"],
        "mirrored: on all GPUs; multi_worker: on several machines, one process each (docs/cluster/README.md); auto: as "
        "TF_CONFIG and the GPUs have it.",
    )
    flags.DEFINE_bool(
        "replay", False, "Train nothing: make the run's last step whose numbers were not finite again, on one device."
    )
    flags.DEFINE_string("data_service", None, "HOST:PORT of a tf.data service that makes the batches; docs/scale.md.")
    flags.mark_flag_as_required("run_dir")


def main():
    if FLAGS.replay and FLAGS.config:
        raise SystemExit("train: --replay is made with the config of the run in --run_dir: leave --config out")
    config = start.load_config(FLAGS.run_dir)
    from gfl_tf.training import cluster, divergence, fit, replay, run_dir

    try:
        if FLAGS.replay:
            print(replay.text(replay.replay(run_dir.RunDirectory(FLAGS.run_dir), config)))
            return
        outcome = fit.train(config, FLAGS.run_dir, FLAGS.strategy, FLAGS.data_service)
    except (OSError, ValueError, divergence.DivergedError, cluster.WorkerLostError) as error:
        raise SystemExit(f"train: {error}") from error
    except KeyboardInterrupt:  # the second Ctrl-C
        print("train: stopped at once; the run goes on from its last checkpoint", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if outcome.stopped_by:
        sys.exit(128 + outcome.stopped_by)  # as a shell reports a program that a signal ended


def run():
    start.run(define_flags, main)
