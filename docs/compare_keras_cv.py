"""Trains KerasCV's YOLOv8 or RetinaNet for the table of docs/learning.md, and prints its AP as it learns.

    python docs/compare_keras_cv.py --detector=yolo_v8 --path=FOLDER --scale=448x448 --evaluate_at=400,800,1200 --seed=0

The images, their scale, the backbone and the evaluation are those of `gfl-train --config=small`. The optimizer is AdamW
at 1e-3, gradients are clipped, and images are mirrored.
"""

import json
import time

import keras
import keras_cv
import numpy as np
import tensorflow as tf
from absl import app, flags

from gfl_tf.commands import numbers
from gfl_tf.config_files import load_config
from gfl_tf.data import batching, pipeline
from gfl_tf.evaluation import coco
from gfl_tf.training import config as configs

FLAGS = flags.FLAGS
flags.DEFINE_enum("detector", "yolo_v8", ["yolo_v8", "retinanet"], "Which one.")
flags.DEFINE_string("path", None, "Folder of the data set.", required=True)
flags.DEFINE_string("scale", None, "As LONGxSHORT in pixels; by default as `small` chooses it.")
flags.DEFINE_string("evaluate_at", "400,800,1200", "Steps after which there is an evaluation; the last one is the end.")
flags.DEFINE_integer("seed", 0, "Of weights, order and mirroring.")


def build(detector, num_classes):
    backbone = keras_cv.models.YOLOV8Backbone(**load_config("small").model.backbone.arguments.to_dict())
    options = dict(num_classes=num_classes, bounding_box_format="xyxy", backbone=backbone)
    if detector == "yolo_v8":
        model = keras_cv.models.YOLOV8Detector(fpn_depth=1, **options)
        losses = dict(box_loss="ciou", classification_loss="binary_crossentropy")
    else:
        model = keras_cv.models.RetinaNet(**options)
        losses = dict(box_loss="smoothl1", classification_loss="focal")
    optimizer = keras.optimizers.AdamW(1e-3, global_clipnorm=10.0)
    model.compile(optimizer=optimizer, jit_compile=False, **losses)
    return model


def main(_):
    keras.utils.set_random_seed(FLAGS.seed)
    config = load_config("small")
    config.data.path = FLAGS.path
    if FLAGS.scale:
        config.data.scale = numbers.parse("scale", FLAGS.scale, "x", 2)
    config, train, val = configs.load_datasets(config)
    batch_size, scale = config.train.batch_size, config.data.scale
    # KerasCV makes its anchors from the static shape: all images on one canvas.
    sizes = batching.keep_ratio_sizes([(r.height, r.width) for r in (*train.images, *val.images)], scale)
    canvas = (-(-sizes.max(axis=0) // batching.STRIDE) * batching.STRIDE).tolist()

    def on_canvas(images):
        images = tf.image.pad_to_bounding_box(images, 0, 0, *canvas)
        return tf.ensure_shape(images, [None, *canvas, 3])

    batches = pipeline.training_batches(train, batch_size, scale=scale, seed=FLAGS.seed, cache=True)
    batches = batches.map(lambda images, labels: (on_canvas(images), {k: labels[k] for k in ("boxes", "classes")}))
    evaluation_batches = pipeline.evaluation_batches(val, batch_size, scale=scale, cache=True)
    model = build(FLAGS.detector, train.num_classes)

    def detect(images):
        found = model.predict(on_canvas(images), verbose=0)
        found["num_detections"] = np.sum(found["classes"] >= 0, axis=1).astype(np.int32)
        return {name: tf.constant(value) for name, value in found.items()}

    done, seconds = 0, 0.0
    for step in numbers.parse("evaluate_at", FLAGS.evaluate_at, ","):
        start = time.perf_counter()
        model.fit(batches, steps_per_epoch=step - done, verbose=0)
        seconds, done = seconds + time.perf_counter() - start, step
        metrics = coco.evaluate(model, val, batches=evaluation_batches, detect=detect).metrics
        scores = {name: round(100 * metrics[name], 1) for name in ("AP", "AP50")}
        row = {"detector": FLAGS.detector, "seed": FLAGS.seed, "step": step, "seconds": round(seconds), **scores}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    app.run(main)
