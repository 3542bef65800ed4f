r"""Trains the rows of one of the papers' ablation tables on any data, with several seeds, and compares their order.

Examples:
    gfl-ablate --table=gfl_3 --config=gflv2_shapes --output=ablations/gfl_3
    gfl-ablate --table=gfl_2a --config=small --config.data.path=FOLDER --output=ablations/gfl_2a --budget_minutes=60
    gfl-ablate --table=gflv2_2 --rows=k0,k1,k4 --seeds=0,1 --config=small:DETECTOR/resnet18 \
        --config.data.path=FOLDER --config.train.epochs=5 --output=ablations/k

Tables: gfl_1a, gfl_1b, gfl_1c, gfl_2a, gfl_2b, gfl_2c, gfl_3, gflv2_1, gflv2_2, gflv2_4, gflv2_5, vfnet_2, vfnet_3,
vfnet_5. The config is one that takes a detector behind a colon, which each row says.

Each row and seed is a run of gfl-train in --output, made by a process of its own. The same command goes on where it was
stopped. Prints means, spreads and the paper's figures, and writes ablation.json and index.html; docs/ablate.md says
more. The exit status is 1 where a training failed.
"""

import pathlib
import sys

from absl import flags

from gfl_tf.ablation import tables
from gfl_tf.commands import flag_groups, numbers, start

FLAGS = flags.FLAGS
TRAIN = "gfl_tf.commands.train_child"


def define_flags() -> None:
    flags.DEFINE_string("table", None, "Of the papers, such as gfl_3.")
    start.define_config("Config that takes a detector, by name or file: small, gflv2_shapes, papers.")
    flags.DEFINE_string("output", None, "Folder for the runs, ablation.json and index.html.")
    flags.DEFINE_list("rows", [], "Some of the table's rows; by default all.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Of each row.")
    flags.DEFINE_float(
        "budget_minutes", None, "Start no training that would not end in this time; stop that which does not.", 0.0
    )
    flag_groups.define_checkpoint()
    flags.mark_flags_as_required(["table", "output"])


def main() -> None:
    overrides = start.field_arguments()
    try:
        rows = tables.chosen(FLAGS.table, FLAGS.rows)
        seeds = numbers.seeds("seeds", FLAGS.seeds)
    except ValueError as error:
        raise SystemExit(f"ablate: {error}") from error
    start.import_tensorflow()
    import tensorflow as tf

    from gfl_tf.ablation import ablate, page, text
    from gfl_tf.ablation.plan import Budget

    tf.config.set_visible_devices([], "GPU")  # their memory is for the trainings
    ablation = ablate.Ablation(
        FLAGS.table, FLAGS.config, tuple(overrides), pathlib.Path(FLAGS.output), rows, seeds, FLAGS.checkpoint
    )
    try:
        found, stopped_by = ablate.run(
            ablation,
            [sys.executable, "-m", TRAIN],
            Budget(FLAGS.budget_minutes),
            lambda line: print(line, flush=True),
            lambda found: page.write(ablation, found),
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"ablate: {error}") from error
    print(f"\n{text.render(ablation, found)}\n\nWritten to {FLAGS.output}: {page.NAME}, {ablate.FILE}")
    if stopped_by:
        sys.exit(128 + stopped_by)
    sys.exit(1 if found.failures else 0)


def run() -> None:
    start.run(define_flags, main)
