"""Times the answers of exported SavedModels to encoded images, with the stages' shares and the memory they take.

Examples:
    gfl-benchmark-serving --model=saved_models/gflv2_shapes/1
    gfl-benchmark-serving --model=saved_models/a/1,saved_models/b/1 --sizes=800x1333 --requests=30
    gfl-benchmark-serving --model=saved_models/a/1 --images=photos --concurrency=4 --batch_size=8

The models run in this process, without a server. Several of them take turns, so that the ratios to the first one hold
where the machine's speed drifts. The exit status is 1 when a request failed.
"""

from absl import app, flags

from gfl_tf.commands import numbers, start

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_list("model", None, "Versions of exported models, saved_models/NAME/VERSION.")
    flags.DEFINE_string("images", None, "Folder of images to send; by default synthetic JPEGs of --sizes.")
    flags.DEFINE_list(
        "sizes", ["800x1333", "480x640", "640x480", "375x500"], "HEIGHTxWIDTH of the synthetic JPEGs, in pixels."
    )
    flags.DEFINE_integer("requests", 100, "Requests to each model, after a warm-up with every image.", lower_bound=1)
    flags.DEFINE_integer("concurrency", 2, "Requests at a time.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 1, "Images in a request.", lower_bound=1)
    flags.mark_flag_as_required("model")


def main():
    if FLAGS.images and FLAGS["sizes"].present:
        raise app.UsageError("--sizes are those of synthetic images: give it or --images.")
    start.import_tensorflow()
    from gfl_tf.data import images as image_files
    from gfl_tf.serving import latency

    try:
        if FLAGS.images:
            images = [file.read_bytes() for file in image_files.find_files([FLAGS.images])]
        else:
            images = latency.synthetic_jpegs([numbers.parse("sizes", text, "x", 2) for text in FLAGS.sizes])
        report = latency.benchmark(FLAGS.model, images, FLAGS.requests, FLAGS.concurrency, FLAGS.batch_size)
    except (OSError, ValueError) as error:
        raise SystemExit(f"benchmark_serving: {error}") from error
    print(report.table())
    if report.failed:
        raise SystemExit(1)


def run():
    start.run(define_flags, main)
