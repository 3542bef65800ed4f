r"""Reads a whole data set and says all that is wrong or odd with it, before anything is trained.

Examples:
    gfl-check-dataset --path=DATA
    gfl-check-dataset --path=DATA --config=finetune --config.data.scale="(800, 640)" --output=check
    gfl-check-dataset --train_annotations=train.json --train_images=photos --val_annotations=val.json

The exit status is 0 where there are no errors (there may be remarks), 1 with errors, which training would refuse or be
spoiled by, and 2 where data cannot be read at all. docs/check_dataset.md lists what counts as what. --output gets
report.json, with everything, and report.html, with pictures.
"""

import os
import re

from absl import app, flags

from gfl_tf.commands import flag_groups, start

FLAGS = flags.FLAGS


def define_flags():
    flag_groups.define_data_set()
    flags.DEFINE_string("output", None, "Folder for report.json and report.html.")
    start.define_config("Config of the training that the data are meant for, by name or file.", default="small")


def main():
    if not (FLAGS.path or FLAGS.train_annotations or FLAGS.val_annotations):
        raise app.UsageError("name the data: --path=FOLDER, or --train_annotations=PATH and --train_images=FOLDER.")
    for argument in start.field_arguments():
        field = re.match(r"--?config\.data\.(\w+)", argument)
        if field and field[1] in FLAGS:
            raise app.UsageError(f"{argument}: here --{field[1]} says so.")
    try:
        if FLAGS.output:
            os.makedirs(FLAGS.output, exist_ok=True)
    except OSError as error:
        raise app.UsageError(str(error)) from error
    config = start.load_config()
    from gfl_tf.build import check_detector
    from gfl_tf.dataset_check import check, files, text
    from gfl_tf.training import config as configs
    from gfl_tf.training.progress import Progress

    try:
        config = configs.complete(config)
        check_detector(config)
        settings = check.Settings.of(config)
    except ValueError as error:
        raise SystemExit(f"check_dataset: {error}") from error
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
