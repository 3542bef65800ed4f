r"""Exports a trained detector for TensorFlow Serving and every other program that has TensorFlow, or to other formats.

Examples:
    gfl-export --run_dir=runs/gflv2_shapes
    gfl-export --run_dir=runs/gflv2_shapes --precision=bfloat16 --name=gflv2_shapes-bfloat16
    gfl-export --run_dir=runs/gflv2_shapes --format=tflite --canvas=128x160 --precision=int8 \
        --representative_images=data/shapes/train
    gfl-export --run_dir=runs/gflv2_shapes --format=onnx

The first writes saved_models/gflv2_shapes/1, the next time .../2, and so on; the third writes to
saved_models/gflv2_shapes-tflite. What goes in and comes out: docs/serving.md.
"""

from absl import flags

from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS
OPTIONS = (*flag_groups.DECODER, "format", "precision", "freeze", "on_bad_image", "max_pixels", "keep")


def define_flags():
    flag_groups.define_run()
    flags.DEFINE_string("output", "saved_models", "Folder of all exported models.")
    flags.DEFINE_string("name", None, "Name of the model, a folder in --output; by default the config's, and -FORMAT.")
    flags.DEFINE_integer("keep", 0, "Delete older versions, so that this many are left; 0: keep all.", lower_bound=0)
    flags.DEFINE_enum("format", "saved_model", ["saved_model", "tflite", "onnx"], "What to write.")
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "bfloat16", "float16", "int8"],
        "Of weights and convolutions. bfloat16: of a SavedModel; float16: of that and TensorFlow Lite; int8: of that "
        "one and ONNX.",
    )
    flag_groups.define_decoder()
    flag_groups.define_intervals()
    flags.DEFINE_bool("freeze", False, "SavedModel: weights are constants of the graph, not variables beside it.")
    flags.DEFINE_enum(
        "on_bad_image",
        "error",
        ["error", "report"],
        "SavedModel: a request with an undecodable image fails, or this image's status output says why.",
    )
    flags.DEFINE_integer("max_pixels", 1 << 26, "SavedModel: larger images are refused before they are decoded.")
    flags.DEFINE_string("batch_sizes", "1,2,3,4", "SavedModel: the server's allowed batch sizes.")
    flags.DEFINE_string(
        "canvas",
        "",
        "HEIGHTxWIDTH, multiples of 32: of TensorFlow Lite's input, or of what a SavedModel's network gets, which then "
        "takes the images of a request as a batch.",
    )
    flags.DEFINE_string("representative_images", "", "int8: folder of images to measure ranges with.")


def main():
    start.import_tensorflow()
    import tensorflow as tf

    from gfl_tf.serving import export
    from gfl_tf.training import run_dir

    try:
        options = export.Options(
            **{name: FLAGS[name].value for name in OPTIONS},
            batch_sizes=numbers.parse("batch_sizes", FLAGS.batch_sizes, ","),
            canvas=numbers.parse("canvas", FLAGS.canvas, "x", 2),
            representative_images=FLAGS.representative_images,
        )
        intervals = numbers.shares("intervals", FLAGS.intervals or [])
        model, config = run_dir.load_run(FLAGS.run_dir, FLAGS.checkpoint, intervals)
        name = config.name + ("" if FLAGS.format == "saved_model" else f"-{FLAGS.format}")
        evaluation = run_dir.RunDirectory(FLAGS.run_dir).evaluation_of(FLAGS.checkpoint)
        version = export.export(
            model, config.data.scale, FLAGS.output, FLAGS.name or name, options, config.data.class_names,
            config.to_dict(), evaluation,
        )  # fmt: skip
    except (OSError, ValueError, ImportError, tf.errors.OpError) as error:
        raise SystemExit(f"export: {error}") from error
    print(version)


def run():
    start.run(define_flags, main)
