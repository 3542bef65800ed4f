"""Puts several trainings side by side: their scores on the same images, and whether these differ by more than chance.

Examples:
    gfl-compare --runs=runs/small,runs/large --output=comparison
    gfl-compare --runs=runs/a,runs/b,runs/c --annotations=data/test.json --images=data/test --output=comparison
    gfl-compare --runs=runs/a/evaluation/best-val,runs/a/evaluation/best-tta-val --output=tta

A run is evaluated as gfl-evaluate does, unless its directory has an evaluation of the same weights and data. A folder
that gfl-evaluate wrote can stand for a run: so are other weights, or other settings, of one run compared.

Prints tables, and writes compare.json and index.html. Each difference from the first run has an interval of 95%: so
far it may be off because of which images were at hand. Another seed of the training may change it by more.
"""

import os

from absl import flags

from gfl_tf.commands import flag_groups, start
from gfl_tf.comparison import names

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_list("runs", None, "Run directories, or folders that gfl-evaluate wrote; the first is the reference.")
    flag_groups.define_checkpoint()
    flag_groups.define_images_of_run("the runs' validation data, which must be the same")
    flags.DEFINE_string("output", None, "Folder for compare.json and index.html.")
    flags.DEFINE_integer("resamples", 1000, "How often the images are drawn anew for the intervals.", lower_bound=100)
    flags.DEFINE_integer("seed", 0, "Of the drawing.", lower_bound=0)
    flags.mark_flags_as_required(["runs", "output"])


def main() -> None:
    try:
        names.check(FLAGS.runs)
        os.makedirs(FLAGS.output, exist_ok=True)
    except (OSError, ValueError) as error:
        raise SystemExit(f"compare: {error}") from error
    start.import_tensorflow()
    from gfl_tf.comparison import compare, evaluations, files, text
    from gfl_tf.training.progress import Progress

    progress = Progress(os.devnull)
    try:
        dataset, found = evaluations.collect(
            FLAGS.runs, FLAGS.checkpoint, FLAGS.annotations, FLAGS.images, FLAGS.on_bad_image, progress.say
        )
        comparison = compare.compare(dataset, found, FLAGS.resamples, FLAGS.seed, progress.draw)
        progress.close()
        print(f"\n{text.render(comparison)}\n")
        files.write(comparison, FLAGS.output)
    except (OSError, ValueError) as error:
        raise SystemExit(f"compare: {error}") from error
    finally:
        progress.close()
    print(f"Written to {FLAGS.output}: index.html, compare.json")


def run() -> None:
    start.run(define_flags, main)
