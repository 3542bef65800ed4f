"""Detects objects in images: annotated pictures, and predictions.json with all that was found.

Examples:
    gfl-predict --run_dir=runs/shapes --images=photos --output=predictions
    gfl-predict --run_dir=runs/shapes --images=a.jpg,b.png --output=predictions --score_threshold=0.5 --distributions

In the pictures, the band along an edge reaches one standard deviation to either side of it: how sure the model is of
this edge. --distributions draws, beside each detection, the four distributions that this comes from.

Images are JPEG, PNG, BMP, GIF, WebP, TIFF and AVIF files. Of a folder all files are taken that are named like images,
of whatever kind; other files are named and passed over. What cannot be read is skipped and listed, with the reason, at
the end and in predictions.json, and the exit status is then 1.
"""

from absl import flags

from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS


def define_flags():
    flag_groups.define_run()
    flags.DEFINE_list("images", None, "Images, and folders of which all images are taken.")
    flags.DEFINE_string("output", None, "Folder to write to.")
    flags.DEFINE_float("score_threshold", 0.3, "Scores at or below it are left out before NMS.", 0.0, 1.0)
    flag_groups.define_intervals()
    flags.DEFINE_bool("distributions", False, "Whether to draw the distributions of each image's best detections.")
    flags.DEFINE_integer("max_distributions", 5, "Of how many detections in each image.", lower_bound=1)
    flags.mark_flags_as_required(["images", "output"])


def main():
    start.import_tensorflow()
    from gfl_tf.training import run_dir
    from gfl_tf.visualization import predict

    try:
        intervals = numbers.shares("intervals", FLAGS.intervals or [])
        model, config = run_dir.load_run(FLAGS.run_dir, FLAGS.checkpoint, intervals)
        model.prediction_decoder = model.prediction_decoder.changed(score_threshold=FLAGS.score_threshold)
        content = predict.predict(
            model,
            FLAGS.images,
            FLAGS.output,
            config.data.scale,
            config.data.class_names,
            max_distributions=FLAGS.max_distributions if FLAGS.distributions else 0,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"predict: {error}") from error
    count = sum(len(image["detections"]) for image in content["images"])
    print(f"{len(content['images'])} images, {count} detections. Written to {FLAGS.output}")
    if content["skipped"]:
        listed = "".join(f"\n  {image['reason']}" for image in content["skipped"])
        raise SystemExit(f"predict: skipped {len(content['skipped'])} images that cannot be read:{listed}")


def run():
    start.run(define_flags, main)
