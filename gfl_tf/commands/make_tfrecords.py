r"""Writes a data set as TFRecords, which gfl-train and gfl-evaluate read in place of many small files.

Examples:
    gfl-make-tfrecords --path=DATA --output=RECORDS
    gfl-make-tfrecords --train_annotations=train.json --train_images=photos --output=RECORDS
    gfl-make-tfrecords --output=RECORDS --verify
    gfl-train --config=small --run_dir=runs/mine --config.data.path=RECORDS

RECORDS gets a folder train and, where there are validation data, val: shards with the image files as they are, and the
index tfrecords.json. The same call again goes on where an earlier one was stopped, writes shards anew that are damaged
or whose images or boxes have changed, and keeps the others. docs/scale.md has the details.
"""

import contextlib
import os
import signal

from absl import app, flags

from gfl_tf.commands import flag_groups, start

FLAGS = flags.FLAGS


def define_flags():
    flag_groups.define_data_set()
    flags.DEFINE_enum("on_bad_image", "error", ["error", "skip"], "As config.data.on_bad_image.")
    flags.DEFINE_string("output", None, "Folder to write to.")
    flags.DEFINE_integer("num_shards", None, "Of each part; by default as many as have 128 MiB each.", lower_bound=1)
    flags.DEFINE_bool("verify", False, "Writes nothing: compares the checksums of all shards in --output.")
    flags.mark_flag_as_required("output")


def main():
    if FLAGS.verify == bool(FLAGS.path or FLAGS.train_annotations or FLAGS.val_annotations):
        raise app.UsageError(
            "name the data: --path=FOLDER, or --train_annotations=PATH and --train_images=FOLDER; or give --verify "
            "without any."
        )
    start.import_tensorflow()
    from gfl_tf.training.progress import Progress

    with contextlib.closing(Progress(os.devnull)) as progress:
        try:
            return _verify(progress) if FLAGS.verify else _make(progress)
        except (OSError, ValueError) as error:
            raise SystemExit(f"make_tfrecords: {error}") from error
        except KeyboardInterrupt:
            progress.say("make_tfrecords: stopped; the same call goes on, and keeps the shards that are whole")
            return 128 + signal.SIGINT


def _make(progress):
    from gfl_tf.data.tfrecords import making
    from gfl_tf.training import lock

    given = flag_groups.parts_of_data_set()
    os.makedirs(FLAGS.output, exist_ok=True)
    with lock.held(os.path.join(FLAGS.output, ".lock"), "Wait for it, stop it, or choose another --output."):
        parts = making.make(
            FLAGS.output,
            FLAGS.path,
            given,
            FLAGS.format,
            FLAGS.class_names,
            FLAGS.on_bad_image,
            FLAGS.num_shards,
            progress.draw,
        )
        for folder, dataset, written in parts:
            progress.say(
                f"{folder}: {len(dataset.images)} images, {dataset.num_boxes} boxes, {dataset.num_classes} classes; "
                f"{written.new} shards written, {written.kept} kept"
            )


def _verify(progress):
    from gfl_tf.data.tfrecords import index, making

    checked = making.verify(FLAGS.output, progress.draw)
    for folder, problems in checked:
        progress.say("\n".join([*problems, f"{folder}: {len(problems)} shards are missing or damaged"]))
    if any(problems for _, problems in checked):
        progress.say(index.REMEDY)
        return 1


def run():
    start.run(define_flags, main)
