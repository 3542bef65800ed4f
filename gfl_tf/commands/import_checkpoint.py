r"""Makes a run directory of a PyTorch checkpoint that mmdetection or the authors of GFLv2 and VarifocalNet published.

Examples:
    gfl-import-checkpoint --config=gfl_r50_fpn_1x --checkpoint=gfl_r50_fpn_1x_coco.pth --run_dir=runs/gfl_r50
    gfl-import-checkpoint --config=gfl_r50_fpn_1x --checkpoint=gfl_r50_fpn_1x_coco.pth --run_dir=runs/mine \
        --partial --config.model.num_classes=2 --config.data.class_names="('cat', 'dog')"

gfl-evaluate, gfl-predict and gfl-export then work as on a model trained here. PyTorch is not needed, and no code of
the file is executed. The config must be that of the model in the file: whatever does not fit is listed, and nothing is
written. --partial takes what fits, for fine-tuning with other classes: the head's last layers then start fresh.

The weights may lie under any key of the file, and their names may have something before them ("model.", "module."):
the report says what was cut off. Of a file with several such models ("student.", "teacher."), --prefix=teacher. takes
one.
"""

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    start.define_config("Config of the model in the checkpoint, by name or file.")
    flags.DEFINE_string("checkpoint", None, "The .pth file, or one of numpy arrays in a pickle, or .safetensors.")
    flags.DEFINE_string("run_dir", None, "Where the run is made; must not be there yet.")
    flags.DEFINE_bool(
        "ema",
        None,
        "Of a training that averaged its weights: --ema the averaged ones, --noema the others; by default those that "
        "the reference itself would load, which are the averaged ones if its EMA hook wrote the file.",
    )
    flags.DEFINE_bool("partial", False, "Whether to load what fits, and leave the rest of the model fresh.")
    flags.DEFINE_string(
        "prefix",
        None,
        "Of a file with several such models: what the names of the right one's tensors begin with, such as 'teacher.'; "
        "--prefix= those with nothing before them.",
    )
    flags.mark_flags_as_required(["checkpoint", "run_dir"])


def main():
    config = start.load_config()
    from gfl_tf.training import import_run

    try:
        imported = import_run.import_run(
            config, FLAGS.checkpoint, FLAGS.run_dir, FLAGS.ema, FLAGS.partial, FLAGS.prefix
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"import_checkpoint: {error}") from error
    print(imported.summary())


def run():
    start.run(define_flags, main)
