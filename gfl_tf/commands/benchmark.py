"""Times a detector with random weights: forward, predict, training step, losses, and their ratios.

Examples:
    gfl-benchmark --config=gflv2_shapes --height=192 --width=256 --batch_size=8
    gfl-benchmark --config=gflv2_kerascv_r50_1x --config.model.backbone.weights= --height=640 --width=640
"""

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    start.define_config("Config of the detector, by name or file.")
    flags.DEFINE_integer("height", 640, "Of the images, in pixels.", lower_bound=1)
    flags.DEFINE_integer("width", 640, "Of the images, in pixels.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 1, "Images at a time.", lower_bound=1)
    flags.DEFINE_integer("boxes", 8, "Ground-truth boxes of an image.", lower_bound=1)
    flags.DEFINE_integer("repeats", 10, "How often each part is timed; the median is printed.", lower_bound=1)


def main():
    config = start.load_config()
    from gfl_tf.build import build_detector
    from gfl_tf.evaluation import speed

    model = build_detector(config)
    shape = (FLAGS.height, FLAGS.width)
    print(speed.table(speed.measure(model, shape, FLAGS.batch_size, FLAGS.boxes, FLAGS.repeats)))


def run():
    start.run(define_flags, main)
