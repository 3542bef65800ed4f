"""bin/import_checkpoint, through its command line and beneath it."""

import numpy as np
import pytest

from gfl_tf.config_files import load_config
from gfl_tf.training import import_run as imports
from gfl_tf.training.run_dir import load_run
from tests.checkpoints.shapes import CLASSES, gfl_shapes, random_weights
from tests.checkpoints.torch_writer import Global, write_content, write_state_dict

pytestmark = pytest.mark.one_stack

CONFIG = """
import ml_collections
from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train

def get_config():
    config = ml_collections.ConfigDict({"name": "small"})
    config.model = default_model("gfl")
    config.model.num_classes = 3
    config.model.backbone = dict(
        name="reference_resnet", arguments=dict(depth=18), weights="https://nowhere/r18.pth", freeze_batch_norm=False
    )
    config.model.neck.channels = 8
    config.model.head.update(channels=8, num_convs=2, groups=4)
    config.data, config.train = default_data(), default_train()
    return config
"""
NAMES = ("cat", "dog", "cow")


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def weights():
    return random_weights(gfl_shapes())


@pytest.fixture(scope="module")
def checkpoint(weights, tmp_path_factory):
    """As mmdetection 2.x leaves it, with things in it that must not matter."""
    meta = {"CLASSES": NAMES, "epoch": 12, "mmdet_version": "2.6.0", "env": Global("datetime", "datetime", b"")}
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    return write_state_dict(path, weights, meta=meta, optimizer={"state": {0: Global("os", "system", "false")}})


@pytest.fixture
def no_building(monkeypatch):
    """For what must be refused before the model is built."""
    monkeypatch.setattr(imports, "build_detector", None)


def test_command(command, config_file, checkpoint, weights, tmp_path):
    run_dir = tmp_path / "run"
    done = command("import_checkpoint", f"--config={config_file}", f"--checkpoint={checkpoint}", f"--run_dir={run_dir}")
    assert done.returncode == 0, done.stderr[-3000:]
    count = len(weights) - 21  # the counters of 20 batch norms, and the values of the bins
    for text in (
        f"{checkpoint}: epoch 12, mmdet_version 2.6.0\n",
        f"\n{count} of {count} tensors taken from {checkpoint} (",
        "ignored 21 counters and constants, and beside the weights 'meta', 'optimizer'\n",
        "3 classes: cat, dog, cow\n",
        f"gfl-predict --run_dir={run_dir} ",
        f"--config.model.weights={run_dir / 'best.npz'}",
    ):
        assert text in done.stdout, done.stdout
    assert {path.name for path in run_dir.iterdir()} == {
        "config.json", "best.npz", "last.npz", "evaluation"
    }  # fmt: skip

    model, config = load_run(run_dir)
    assert config.data.class_names == NAMES and config.model.num_classes == CLASSES
    assert config.model.backbone.weights == ""
    assert config.model.weights == str(run_dir / "best.npz")
    np.testing.assert_array_equal(model.head.classification.bias, weights["bbox_head.gfl_cls.bias"])
    np.testing.assert_array_equal(model.backbone.get_layer("bn1").moving_variance, weights["backbone.bn1.running_var"])
    assert (run_dir / "last.npz").stat().st_size == (run_dir / "best.npz").stat().st_size


def test_error_is_one_line_and_nothing_is_left(command, config_file, tmp_path):
    done = command(
        "import_checkpoint", f"--config={config_file}", "--checkpoint=nowhere.pth", f"--run_dir={tmp_path / 'run'}"
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "import_checkpoint: [Errno 2] No such file or directory: 'nowhere.pth'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_one_of_two_models(command, config_file, weights, tmp_path):
    student = {name: value + 1 for name, value in weights.items()}
    checkpoint = write_content(tmp_path / "semi.pth", {"student": student, "teacher": weights, "iter": 3})
    run_dir = tmp_path / "run"
    flags = f"--config={config_file}", f"--checkpoint={checkpoint}", f"--run_dir={run_dir}"
    done = command("import_checkpoint", *flags, "--config.data.class_names=('a', 'b', 'c')")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "'student.' (137), 'teacher.' (137): choose with --prefix=student. or --prefix=teacher. of" in done.stderr
    assert not run_dir.exists()
    done = command("import_checkpoint", *flags, "--config.data.class_names=('a', 'b', 'c')", "--prefix=teacher.")
    assert done.returncode == 0, done.stderr[-3000:]
    for text in (
        "; cut off the file's names: 'teacher.' at the beginning; of something else in the file: student.backbone.",
        f", and {len(weights) - 3} more (",
        "beside the weights 'iter'\n",
    ):
        assert text in done.stdout, done.stdout
    model, _ = load_run(run_dir)
    np.testing.assert_array_equal(model.head.box.bias, weights["bbox_head.gfl_reg.bias"])


def test_partial(config_file, checkpoint, weights, tmp_path):
    config = load_config(config_file)
    config.model.num_classes, config.data.class_names = 2, ("a", "b")
    run_dir = tmp_path / "run"
    with pytest.raises(
        ValueError, match=r"small.pth .*gfl_cls.bias \(3,\) is \(2,\) in.* file has 3 classes, the model 2.* --partial$"
    ):
        imports.import_run(config, checkpoint, run_dir)
    assert not run_dir.exists()
    imported = imports.import_run(config, checkpoint, run_dir, partial=True)
    classes = {"bbox_head.gfl_cls.weight", "bbox_head.gfl_cls.bias"}
    assert set(imported.report.fresh) == set(imported.report.unused) == classes
    assert "not taken: bbox_head.gfl_cls.weight (3, 8, 3, 3) is (2, 8, 3, 3) in the model, bbox" in imported.summary()
    model, config = load_run(run_dir)
    assert config.data.class_names == ("a", "b")
    np.testing.assert_array_equal(model.head.box.bias, weights["bbox_head.gfl_reg.bias"])


def test_run_that_is_there(no_building, config_file, checkpoint, tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match="is there already; choose another --run_dir"):
        imports.import_run(load_config(config_file), checkpoint, tmp_path)


def test_averaged_weights_are_asked_for(no_building, config_file, checkpoint, tmp_path):
    with pytest.raises(ValueError, match="no averaged weights"):
        imports.import_run(load_config(config_file), checkpoint, tmp_path / "run", ema=True)


@pytest.mark.parametrize(
    "in_file, in_config, count, expected",
    [
        (NAMES, (), 3, NAMES),
        (NAMES, ("a", "b", "c"), 3, ("a", "b", "c")),
        (NAMES, ("a", "b"), 2, ("a", "b")),
        (None, ("a", "b"), 2, ("a", "b")),
        (None, (), 80, imports.COCO_CLASS_NAMES),
        (NAMES, (), 80, imports.COCO_CLASS_NAMES),
    ],
)
def test_class_names(in_file, in_config, count, expected, config_file):
    config = load_config(config_file)
    config.model.num_classes, config.data.class_names = count, in_config
    file = imports.state_dict.Checkpoint("a.pth", {}, (), {}, in_file)
    assert imports._class_names(config, file) == expected


@pytest.mark.parametrize("count, given", [(20, ()), (3, ("a", "b")), (80, ("a", "b"))])
def test_unknown_class_names(config_file, count, given):
    """Names that a user gives are never passed over for those of the file or of COCO."""
    config = load_config(config_file)
    config.model.num_classes, config.data.class_names = count, given
    file = imports.state_dict.Checkpoint("a.pth", {}, (), {}, NAMES)
    with pytest.raises(ValueError, match=f"names of the {count} classes.*a.pth has 3.*--config.data.class_names"):
        imports._class_names(config, file)


def test_coco_names():
    assert len(imports.COCO_CLASS_NAMES) == len(set(imports.COCO_CLASS_NAMES)) == 80
    assert imports.COCO_CLASS_NAMES[0] == "person" and imports.COCO_CLASS_NAMES[79] == "toothbrush"
