"""Ranks the annotations that a person should look at first, by how much a trained detector doubts them.

Examples:
    gfl-review --run_dir=runs/mine --annotations=data/test.json --images=data/test --output=review
    gfl-review --run_dir=runs/mine --output=review                    (the run's validation data)
    gfl-review --run_dir=runs/mine --images=photos --output=next      (images without annotations: which to annotate)

Writes index.html, with pictures, and review.json, COCO JSON that labelling tools open: images and annotations in order
of priority, each with a field "review" that says why and what the detector suggests. It finds wrong sides, wrong
classes, missing and needless boxes, best on images that were not trained on (docs/review.md). Of a run on TFRecords,
name the data that they were made of with --annotations and --images.
"""

from absl import app, flags

from gfl_tf.commands import flag_groups, start

FLAGS = flags.FLAGS
KINDS = ("edges", "class", "missing", "spurious")


def define_flags() -> None:
    flag_groups.define_run()
    flag_groups.define_images_of_run(
        "the run's validation data; without it --images are not annotated", "any format of gfl-train but TFRecords"
    )
    flags.DEFINE_string("output", None, "Folder to write to.")
    flags.DEFINE_integer("most", 100, "How many boxes, or images without annotations, are written.", lower_bound=1)
    flags.DEFINE_list("kinds", list(KINDS), "What is looked for in annotations.")
    flags.mark_flag_as_required("output")


def main() -> None:
    if not FLAGS.kinds or set(FLAGS.kinds) - set(KINDS):
        raise app.UsageError(f"--kinds has {','.join(FLAGS.kinds)!r}; give some of {','.join(KINDS)}.")
    start.import_tensorflow()
    from gfl_tf.training import review_run

    try:
        found = review_run.review_run(
            FLAGS.run_dir,
            FLAGS.output,
            FLAGS.checkpoint,
            **flag_groups.images_of_run(),
            most=FLAGS.most,
            kinds=FLAGS.kinds,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"review: {error}") from error
    for note in found["info"]["notes"]:
        print(note)
    print(f"{len(found['images'])} images to look at. Written to {FLAGS.output}: index.html, review.json")


def run() -> None:
    start.run(define_flags, main)
