"""Makes the stated uncertainty of box edges true: from held-out images, for all that a run's model is used for later.

Examples:
    gfl-calibrate --run_dir=runs/mine --annotations=data/calibration.json --images=data/calibration
    gfl-calibrate --run_dir=runs/mine                  (trained with --config.data.calibration_share=0.1)
    gfl-evaluate --run_dir=runs/mine --annotations=data/test.json --images=data/test      (shows what came of it)

The images must be neither those of the training nor those of a test. Writes calibration.json into the run directory:
gfl-predict, gfl-evaluate and gfl-export use it from then on. "edge_stddev" is then calibrated, and "edge_interval" and
"box_interval" are half the widths of intervals that hold the true edge, or all four of a box, as often as they claim.
"""

from absl import flags

from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS


def define_flags() -> None:
    flag_groups.define_run()
    flag_groups.define_images_of_run("what the training held out for it")
    flags.DEFINE_list("levels", ["0.5", "0.68", "0.8", "0.9", "0.95"], "Shares of the true edges in the intervals.")


def main() -> None:
    start.import_tensorflow()
    from gfl_tf.evaluation import edges
    from gfl_tf.training import calibrate_run

    try:
        levels = numbers.shares("levels", FLAGS.levels)
        _, before = calibrate_run.calibrate_run(
            FLAGS.run_dir, FLAGS.checkpoint, **flag_groups.images_of_run(), levels=levels
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"calibrate: {error}") from error
    print(f"Before:\n\n{edges.table(before)}\n")
    print(f"Calibrated: {FLAGS.run_dir}/calibration.json. Measure it on other images: gfl-evaluate --annotations=PATH")


def run() -> None:
    start.run(define_flags, main)
