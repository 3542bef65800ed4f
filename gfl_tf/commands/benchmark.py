"""Where the time goes: detectors against the machine's own limit, against each other and against others.

Examples:
    gfl-benchmark
    gfl-benchmark --suite=large --precision=float32,bfloat16 --output=benchmark
    gfl-benchmark --only=forward,step --config=gflv2_r50_fpn_1x --sizes=800x1344
    gfl-benchmark --only=forward,predict,accuracy --run_dir=runs/mine

Prints a table for each item, and with --output writes benchmark.json and index.html, with the machine's limit drawn
in. The detectors are those of a suite, with random weights, or one of your own. docs/performance.md explains the rows.
"""

import os

from absl import app, flags

from gfl_tf.benchmark import items, suites
from gfl_tf.commands import numbers, start

FLAGS = flags.FLAGS
PRECISIONS = ("float32", "bfloat16")


def define_flags() -> None:
    start.define_config("Config of a detector of your own, by name or file.", required=False)
    flags.DEFINE_string("run_dir", None, "Run directory of a detector of your own, in place of a config.")
    flags.DEFINE_enum("suite", "small", list(suites.SUITES), "Which detectors and sizes, where none are named.")
    flags.DEFINE_list("only", [], f"Which items, of {', '.join(items.ITEMS)}; by default all.")
    flags.DEFINE_list("sizes", [], "HEIGHTxWIDTH of the images in pixels, multiples of 32; by default the suite's.")
    flags.DEFINE_list("precision", ["float32"], "What the network computes in: float32, bfloat16.")
    flags.DEFINE_list("batch_sizes", ["1", "8"], "Images at a time in prediction.")
    flags.DEFINE_integer("train_batch_size", 2, "Images in a training step.", lower_bound=1)
    flags.DEFINE_integer("boxes", 50, "Ground-truth boxes of an image.", lower_bound=1)
    flags.DEFINE_integer("repeats", 10, "Rounds in which each part is timed once.", lower_bound=2)
    flags.DEFINE_integer("requests", 200, "Requests to an exported model.", lower_bound=10)
    flags.DEFINE_integer(
        "scored_images", 500, "Of the synthetic result that is scored; COCO's val2017 has 5000.", lower_bound=10
    )
    flags.DEFINE_string("output", None, "Folder for benchmark.json and index.html.")


def main() -> None:
    # TensorFlow would take all memory of a GPU, and the processes that measure memory and peers could not start.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if FLAGS.config and FLAGS.run_dir:
        raise app.UsageError("name one of --config=NAME and --run_dir=RUN, or none for a suite.")
    suite = suites.SUITES[FLAGS.suite]
    try:
        names = items.chosen(FLAGS.only)
        settings = dict(
            sizes=_sizes(FLAGS.sizes) or suite.sizes,
            precisions=_precisions(FLAGS.precision),
            batch_sizes=numbers.parse("batch_sizes", ",".join(FLAGS.batch_sizes), ","),
            train_batch_size=FLAGS.train_batch_size,
            boxes=FLAGS.boxes,
            repeats=FLAGS.repeats,
            requests=FLAGS.requests,
            images=FLAGS.scored_images,
        )
        if FLAGS.output:
            os.makedirs(FLAGS.output, exist_ok=True)
    except (OSError, ValueError) as error:
        raise SystemExit(f"benchmark: {error}") from error
    config = start.load_config(FLAGS.run_dir) if FLAGS.config or FLAGS.run_dir else start.import_tensorflow()
    from gfl_tf.benchmark import run
    from gfl_tf.benchmark.bench import Settings

    try:
        bench = run.prepared(Settings(**settings), suite, config, FLAGS.config, FLAGS.run_dir)
        run.run(bench, names, FLAGS.output)
    except (OSError, ValueError) as error:
        raise SystemExit(f"benchmark: {error}") from error


def _sizes(texts):
    sizes = tuple(numbers.parse("sizes", text, "x", 2) for text in texts)
    for text, size in zip(texts, sizes):
        if any(side % suites.MULTIPLE for side in size):
            raise ValueError(f"--sizes has {text}; give multiples of {suites.MULTIPLE}, which nothing pads")
    return sizes


def _precisions(names):
    if not names or set(names) - set(PRECISIONS):
        raise ValueError(f"--precision has {','.join(names)!r}; choose among {', '.join(PRECISIONS)}")
    return tuple(names)


def run() -> None:
    start.run(define_flags, main)
