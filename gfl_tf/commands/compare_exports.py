r"""Measures how far exported models are from a reference export: what a precision or a format costs in detections.

Examples:
    gfl-compare-exports --reference=saved_models/x/1 --candidates=saved_models/x-tflite/1,saved_models/x-onnx/1 \
        --images=photos
    gfl-compare-exports --reference=saved_models/x/1 --candidates=saved_models/x-bfloat16/1 --images=data/val \
        --annotations=data/val.json

An export is a version folder: a SavedModel, TensorFlow Lite or ONNX (needs onnxruntime). The table has the candidates'
AP with the reference's detections as ground truth, the share of these that they find again, the differences of scores
and boxes, and, with --annotations, the AP against these.

TensorFlow Lite sees an image on a canvas of fixed size: where the image does not fill it, detections differ for that
reason alone. With a float32 TensorFlow Lite model as --reference one sees what int8 costs.
"""

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("reference", None, "Version folder of the export to compare with, the float32 SavedModel.")
    flags.DEFINE_list("candidates", None, "Version folders of the other exports.")
    flags.DEFINE_list(
        "images", None, "Images (JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF), and folders of which all images are taken."
    )
    flags.DEFINE_string("annotations", None, "COCO JSON file of these images, by their file names.")
    flags.DEFINE_float(
        "score_threshold", 0.3, "Detections of the reference above it are what the others have to find.", 0.0, 1.0
    )
    flags.mark_flags_as_required(["reference", "candidates", "images"])


def main():
    start.import_tensorflow()
    from gfl_tf.serving import agreement

    try:
        results = agreement.compare_exports(
            FLAGS.reference, FLAGS.candidates, FLAGS.images, FLAGS.annotations, FLAGS.score_threshold
        )
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"compare_exports: {error}") from error
    print(agreement.table(results))


def run():
    start.run(define_flags, main)
