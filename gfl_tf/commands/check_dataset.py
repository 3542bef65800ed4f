r"""Reads a whole data set and says all that is wrong or odd with it, before anything is trained.

Examples:
    gfl-check-dataset --path=DATA
    gfl-check-dataset --path=DATA --scale=320x256 --output=check
    gfl-check-dataset --train_annotations=train.json --train_images=photos --val_annotations=val.json

The exit status is 0 where there are no errors (there may be remarks), 1 with errors, which training would refuse or be
spoiled by, and 2 where data cannot be read at all. docs/check_dataset.md lists what counts as what. --output gets
report.json, with everything, and report.html, with pictures.
"""

import os

from absl import app, flags

from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS


def define_flags():
    flag_groups.define_data_set()
    flags.DEFINE_string("output", None, "Folder for report.json and report.html.")
    flags.DEFINE_string("scale", "", "config.data.scale of the training: LONGxSHORT in pixels; chosen, if left out.")
    flags.DEFINE_integer("num_bins", 16, "n of the box distributions, config.model.boxes.num_bins.", lower_bound=1)
    flags.DEFINE_float("bin_width", 1.0, "config.model.boxes.bin_width, in strides.", lower_bound=1e-6)
    flags.DEFINE_string("levels", "3,4,5,6,7", "config.model.grid.levels.")


def main():
    if not (FLAGS.path or FLAGS.train_annotations or FLAGS.val_annotations):
        raise app.UsageError("name the data: --path=FOLDER, or --train_annotations=PATH and --train_images=FOLDER.")
    try:
        scale = numbers.parse("scale", FLAGS.scale, "x", 2) if FLAGS.scale else ()
        levels = numbers.parse("levels", FLAGS.levels, ",")
        if FLAGS.output:
            os.makedirs(FLAGS.output, exist_ok=True)
    except (OSError, ValueError) as error:
        raise app.UsageError(str(error)) from error
    start.import_tensorflow()
    from gfl_tf.dataset_check import check, files, text
    from gfl_tf.training.progress import Progress

    try:
        settings = check.Settings(scale, FLAGS.num_bins, FLAGS.bin_width, levels)
    except ValueError as error:
        raise app.UsageError(str(error)) from error
    given = flag_groups.parts_of_data_set()
    progress = Progress(os.devnull)
    try:
        report = check.check(FLAGS.path, given, FLAGS.format, FLAGS.class_names, settings, progress.draw)
    finally:
        progress.close()
    print(text.render(report))
    if FLAGS.output:
        try:
            files.write(report, FLAGS.output)
        except OSError as error:
            raise SystemExit(f"check_dataset: {error}") from error
        print(f"Written to {FLAGS.output}: report.json, report.html")
    return report.exit_code


def run():
    start.run(define_flags, main)
