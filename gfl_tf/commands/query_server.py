"""Asks a TensorFlow Serving that runs an exported model for the objects in images, over REST: an example of a client.

Example:
    gfl-query-server --url=http://localhost:8501/v1/models/gflv2_shapes --images=a.jpg,b.png

prints a line of JSON per image: "file", "status" ("ok", or why there are no detections) and "detections", the best
first, as gfl-predict writes them: "class" (name), "class_index", "score", "box" (x1, y1, x2, y2 in pixels of the image)
and what else the model predicts, such as the uncertainty of the four edges. The exit status is 1 where the model could
not read an image.
"""

import json

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("url", None, "http://HOST:PORT/v1/models/NAME, with /versions/N for other than the newest.")
    flags.DEFINE_list("images", None, "Images (JPEG, PNG, BMP, GIF), and folders of which all images are taken.")
    flags.DEFINE_float("score_threshold", None, "Instead of the export's; together with --max_detections.", 0.0, 1.0)
    flags.DEFINE_integer("max_detections", None, "Instead of the export's; together with --score_threshold.", 1)
    flags.DEFINE_float("timeout", 60.0, "Seconds to wait for an answer.", 0.1)
    flags.mark_flags_as_required(["url", "images"])


def main():
    start.import_tensorflow()
    from gfl_tf.data import images
    from gfl_tf.serving import requests

    failed = 0
    try:
        files = images.find_files(FLAGS.images)
        for answer in requests.ask_for_files(
            FLAGS.url, files, FLAGS.score_threshold, FLAGS.max_detections, FLAGS.timeout
        ):
            print(json.dumps(answer, ensure_ascii=False), flush=True)
            failed += answer["status"] != "ok"
    except (OSError, ValueError) as error:
        raise SystemExit(f"query_server: {error}") from error
    if failed:
        raise SystemExit(f"query_server: {failed} of {len(files)} images without an answer; see their status")


def run():
    start.run(define_flags, main)
