"""Says what a detector is made of: parameters and FLOPs of its parts, memory, places and receptive fields.

Examples:
    gfl-describe --config=gflv2_r50_fpn_1x --size=800x1333
    gfl-describe --config=small:vfnet --config.model.num_classes=3 --json
    gfl-describe --run_dir=runs/mine

Nothing is computed but shapes, with random weights. Sizes are HEIGHTxWIDTH in pixels, by default that of
config.data.scale, or 640x640 where the data decide it.
"""

import json

from absl import app, flags

from gfl_tf.commands import numbers, start

FLAGS = flags.FLAGS


def define_flags() -> None:
    start.define_config("Config, by name or file.", required=False)
    flags.DEFINE_string("run_dir", None, "Run directory, in place of a config.")
    flags.DEFINE_string("size", "", "HEIGHTxWIDTH of the image in pixels.")
    flags.DEFINE_bool("json", False, "Print JSON.")


def main() -> None:
    if (FLAGS.config is None) == (FLAGS.run_dir is None):
        raise app.UsageError("name one of --config=NAME and --run_dir=RUN.")
    try:
        size = numbers.parse("size", FLAGS.size, "x", 2)
    except ValueError as error:
        raise SystemExit(f"describe: {error}") from error
    config = start.load_config(FLAGS.run_dir)
    from gfl_tf.build import build_detector
    from gfl_tf.description import describe, text

    try:
        model = build_detector(config, load_weights=False)
    except ValueError as error:
        raise SystemExit(f"describe: {error}") from error
    description = describe.describe(model, *(size or describe.default_size(config)))
    print(json.dumps(description.content(), indent=1) if FLAGS.json else text.render(description))


def run() -> None:
    start.run(define_flags, main)
