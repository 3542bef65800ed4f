"""Scores a trained detector as COCO does: 12 numbers and the AP of each class, in percent.

Examples:
    gfl-evaluate --run_dir=runs/shapes
    gfl-evaluate --run_dir=runs/shapes --annotations=data/test.json --images=data/test --output=test_scores
    gfl-evaluate --run_dir=runs/shapes --images=/new/place/val                  (the run's images have moved)
    gfl-evaluate --run_dir=runs/shapes --scale=1600x960 --nms=soft_linear --output=soft
    gfl-evaluate --run_dir=runs/shapes --report=report                   (and report/index.html: a page to look at)
    gfl-evaluate --run_dir=runs/shapes --voting_sigma=0.02 --output=voted
    gfl-evaluate --run_dir=runs/shapes --tta
    gfl-evaluate --run_dir=runs/shapes --tta --tta_scales=1333x640,1333x800,1600x960 --notta_flip

Writes metrics.json (the numbers, from 0 to 1; -1 where there is no such object) and detections.json (COCO's result
format, with the annotation file's image and category ids) to --output. A file without "annotations", such as the list
of a test set's images, gets detections and no score.

--tta detects in several sizes of each image and in their mirror images, and merges what it finds before one NMS. With
the sizes it has by default, 0.6, 0.8, 1 and 1.2 times the config's, it takes about 7 times as long.

--report writes a page that opens without a network: curves, confusions, the worst images (docs/reports.md).
"""

import os

from absl import app, flags

from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS


def define_flags():
    flag_groups.define_run()
    flag_groups.define_images_of_run("the run's validation data, held out or not")
    flags.DEFINE_string(
        "output", None, "Folder to write to; by default evaluation/NAME in the run directory, another with --tta."
    )
    flags.DEFINE_string("report", None, "Folder for index.html, a page about what was found; by default none.")
    flags.DEFINE_integer(
        "batch_size", None, "Images in a batch; by default the config's; without --tta.", lower_bound=1
    )
    flags.DEFINE_string("scale", None, "LONGxSHORT, limits of the resized image in pixels; by default the config's.")
    flag_groups.define_decoder()
    flags.DEFINE_bool("tta", False, "Test-time augmentation: several sizes and mirror images, merged before one NMS.")
    flags.DEFINE_list("tta_scales", None, "With --tta: the sizes, LONGxSHORT in pixels, instead of the default ones.")
    flags.DEFINE_bool("tta_flip", True, "With --tta: whether each size is also mirrored.")


def main():
    if not FLAGS.tta and (FLAGS.tta_scales or not FLAGS.tta_flip):
        raise app.UsageError("--tta_scales and --tta_flip belong to --tta: give it too.")
    decoder = {name: FLAGS[name].value for name in flag_groups.DECODER if FLAGS[name].value is not None}
    if (decoder or FLAGS.scale) and not FLAGS.output:
        raise app.UsageError("name a folder for scores of other settings than the run's: --output=FOLDER")
    start.import_tensorflow()
    from gfl_tf.evaluation import edges, scores
    from gfl_tf.training import evaluate_run

    try:
        views = [numbers.parse("tta_scales", text, "x", 2) for text in FLAGS.tta_scales or ()] if FLAGS.tta else None
        result, metrics, output = evaluate_run.evaluate_run(
            FLAGS.run_dir,
            FLAGS.checkpoint,
            **flag_groups.images_of_run(),
            output=FLAGS.output,
            batch_size=FLAGS.batch_size,
            views=views,
            flip=FLAGS.tta_flip,
            scale=numbers.parse("scale", FLAGS.scale, "x", 2) if FLAGS.scale else None,
            decoder=decoder,
            report=FLAGS.report,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"evaluate: {error}") from error
    print(result.table())
    if "scores" in metrics:
        print(f"\n{scores.text(metrics['scores'])}")
    if "edges" in metrics:
        print(f"\n{edges.table(metrics['edges'])}")
    print(f"\n{result.num_images} images, {len(result.detections)} detections. Written to {output}")
    if FLAGS.report:
        print(f"The page about them: {os.path.join(FLAGS.report, 'index.html')}")


def run():
    start.run(define_flags, main)
