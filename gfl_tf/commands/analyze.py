"""Makes the papers' analyses of a run's own model: how well it knows its boxes, and what it would gain by knowing more.

Examples:
    gfl-analyze --run_dir=runs/mine --output=analyses
    gfl-analyze --run_dir=runs/mine --output=analyses --only=quality_correlation,oracles
    gfl-analyze --run_dir=runs/mine --annotations=data/test.json --images=data/test --output=analyses \\
        --exports=saved_models/mine/1,saved_models/mine-bfloat16/1

Writes NAME.png and NAME.json of each analysis, and all of them in index.html. docs/analyses.md says what each shows.
What does not apply to the detector is left out, and said.
"""

from absl import flags

from gfl_tf.commands import flag_groups, start
from gfl_tf.evaluation import analyses

FLAGS = flags.FLAGS


def define_flags() -> None:
    flag_groups.define_run()
    flag_groups.define_images_of_run("the run's validation data, held out or not")
    flags.DEFINE_string("output", None, "Folder to write to.")
    flags.DEFINE_list("only", [], f"Some of {', '.join(analyses.NAMES)}; by default all.")
    flags.DEFINE_list("exports", [], "Version folders of SavedModels, for speed_accuracy.")
    flags.mark_flag_as_required("output")


def main() -> None:
    try:
        analyses.check_names(FLAGS.only)
    except ValueError as error:
        raise SystemExit(f"analyze: --only: {error}") from error
    start.import_tensorflow()
    from gfl_tf.serving import speed_accuracy
    from gfl_tf.training import analyze_run

    try:
        found, left_out = analyze_run.analyze_run(
            FLAGS.run_dir,
            FLAGS.output,
            FLAGS.checkpoint,
            **flag_groups.images_of_run(),
            only=FLAGS.only,
            exports=FLAGS.exports,
            measure_exports=speed_accuracy.measure,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"analyze: {error}") from error
    for name, numbers in found.items():
        listed = ", ".join(f"{what} {value}" for what, value in analyze_run.scalars(numbers).items())
        print(f"{name}: {listed or 'see the page'}")
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}")
    print(f"Written to {FLAGS.output}: {analyze_run.PAGE}")


def run() -> None:
    start.run(define_flags, main)
