r"""Detects objects in very many images; goes on where it was killed, and gives a row for each image exactly once.

Examples:
    gfl-predict-many --model=saved_models/shapes/1 --images=photos --output=found
    gfl-predict-many --model=saved_models/shapes/1 --tfrecords='data/*.tfrecord' --output=found --format=parquet
    gfl-predict-many --run_dir=runs/shapes --images=gs://bucket/photos --output=gs://bucket/found --shard=0/4

Writes part-SSSSS-of-NNNNN.jsonl (or .parquet) files, a row for each image, in the images' order. An image that cannot
be read has a row too, which says why. Started again with the same flags, it makes the shards that are missing;
--shard=I/N, from 0/N to N-1/N, shares them among N processes, on one machine or several. See docs/bulk.md.

The exit status is 0 when all shards of this process are done and every image was read; 3 when all are done, and some
images could not be read; 1 when something is wrong, and 130 after Ctrl-C: start it again.
"""

import os
import re
import sys

from absl import flags

from gfl_tf import texts
from gfl_tf.commands import flag_groups, start

FLAGS = flags.FLAGS
UNREADABLE_STATUS = 3
STOPPED_STATUS = 130
# Flags that mean something only beside another one.
ONLY_WITH = {
    "checkpoint": "run_dir",
    "score_threshold": "run_dir",
    "image_feature": "tfrecords",
    "id_features": "tfrecords",
}


def define_flags() -> None:
    flags.DEFINE_string("model", None, "Folder of one version of an exported SavedModel.")
    flags.DEFINE_string("run_dir", None, "Run directory of the training, in place of --model.")
    flag_groups.define_checkpoint()
    flags.DEFINE_float("score_threshold", None, "Of a run: in place of the config's. An export has its own.", 0.0, 1.0)
    flags.DEFINE_string("images", None, "Folder of images, with all folders in it.")
    flags.DEFINE_string("tfrecords", None, "TFRecord files, in place of --images: a file, a pattern or a folder.")
    flags.DEFINE_string("image_feature", "image/encoded", "Of TFRecords: which has the encoded image.")
    flags.DEFINE_list("id_features", "image/filename,image/source_id", "Of TFRecords: may name the image; the first.")
    flags.DEFINE_string("output", None, "Folder to write to.")
    flags.DEFINE_enum("format", "jsonl", ["jsonl", "parquet"], "Of the output.")
    flags.DEFINE_string("shard", "0/1", "I/N: make the I-th of N parts of the shards, from 0 on.")
    flags.DEFINE_integer("images_per_shard", 1000, "Images in an output file.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 8, "Images of one size that go through the model at once.", lower_bound=1)
    flags.DEFINE_integer("max_pixels", 1 << 26, "Larger images are refused before they are decoded.", lower_bound=1)
    flags.mark_flag_as_required("output")
    flags.mark_flags_as_mutual_exclusive(["model", "run_dir"], required=True)
    flags.mark_flags_as_mutual_exclusive(["images", "tfrecords"], required=True)


def main() -> None:
    for name, other in ONLY_WITH.items():
        if FLAGS[name].present and FLAGS[other].value is None:
            raise SystemExit(f"predict_many: --{name} is for --{other}, which is not given")
    shard = re.fullmatch(r"(\d+)/(\d+)", FLAGS.shard)
    if not shard or not int(shard[1]) < int(shard[2]):
        raise SystemExit(f"predict_many: --shard has {FLAGS.shard!r}; give I/N, from 0/N to N-1/N for N processes")
    part, parts = int(shard[1]), int(shard[2])
    start.import_tensorflow()
    import tensorflow as tf

    from gfl_tf.serving import many, many_inputs, many_outputs
    from gfl_tf.training import progress

    bar, countdown = progress.Progress(os.devnull), progress.Countdown()

    def draw(done, total, unreadable):
        bar.draw(done, total, f"{unreadable} unreadable, {countdown.left(done, total)}")

    try:
        if FLAGS.images:
            source = many_inputs.find_images(FLAGS.images)
        else:
            known = many_outputs.read_manifest(FLAGS.output).get("files", ())
            source = many_inputs.find_records(FLAGS.tfrecords, FLAGS.image_feature, FLAGS.id_features, known)
        output = many_outputs.Output(FLAGS.output, FLAGS.format, len(source), FLAGS.images_per_shard)
        detect, settings = _model()
        settings = {**settings, **source.settings(), "--max_pixels": FLAGS.max_pixels}
        output.claim(settings, {"command": sys.argv, "files": source.files()})
        done = many.work(detect, source, output, output.part(part, parts), FLAGS.batch_size, FLAGS.max_pixels, draw)
        num_done = len(output.done())
    except (OSError, ValueError, ImportError, tf.errors.OpError) as error:
        raise SystemExit(f"predict_many: {error}") from error
    except KeyboardInterrupt:
        print("predict_many: stopped; the same command goes on behind the last finished shard", file=sys.stderr)
        return STOPPED_STATUS
    finally:
        bar.close()
    images, found = sum(shard.images for shard in done), sum(shard.detections for shard in done)
    print(f"{images} images, {found} detections in {len(done)} shards. {output.folder}: {num_done} of", end=" ")
    print(f"{output.num_shards} shards are done")
    unreadable = [image for shard in done for image in shard.unreadable]
    if unreadable:
        lines = texts.first_ones([f"{image.get('record') or image['image']}: {image['error']}" for image in unreadable])
        listed = "".join(f"\n  {line}" for line in lines)
        print(f"predict_many: {len(unreadable)} of {images} images could not be read:{listed}", file=sys.stderr)
        return UNREADABLE_STATUS


def _model():
    """The function that detects, and what decides its results, as {flag: value}."""
    from gfl_tf.serving import many, runners
    from gfl_tf.training import run_dir

    if FLAGS.model:
        return runners.load_batched(FLAGS.model), {"--model": many.digest_of_export(FLAGS.model)}
    model, config = run_dir.load_run(FLAGS.run_dir, FLAGS.checkpoint)
    if FLAGS.score_threshold is not None:
        model.prediction_decoder = model.prediction_decoder.changed(score_threshold=FLAGS.score_threshold)
    weights = run_dir.RunDirectory(FLAGS.run_dir).weights_file(FLAGS.checkpoint)
    plain = config.to_dict()
    data = plain["data"]
    digest = many.digest_of_files([weights], plain["model"], plain["precision"], data["scale"], data["class_names"])
    settings = {"--run_dir": digest, "--score_threshold": model.prediction_decoder.score_threshold}
    return many.detect_function(model, config.data.scale, config.data.class_names), settings


def run() -> None:
    start.run(define_flags, main)
