"""What all commands share: their start, by bin/NAME and by gfl-NAME alike."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gfl_tf.commands import start

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    point.name: point.value
    for point in importlib.metadata.distribution("gfl_tf").entry_points
    if point.group == "console_scripts"
}


def run(arguments, **environment):
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env = {**env, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(list(map(str, arguments)), env=env, capture_output=True, text=True)


def as_installed(command, *arguments, **environment):
    """As the script does that pip makes of an entry point."""
    module, function = COMMANDS[command].split(":")
    program = f"import sys; from {module} import {function}; sys.argv[0] = {command!r}; sys.exit({function}())"
    return run([sys.executable, "-c", program, *arguments], **environment)


def test_every_file_in_bin_is_a_command():
    files = {path.name for path in (ROOT / "bin").iterdir() if path.is_file()}
    assert set(COMMANDS) == {f"gfl-{name.replace('_', '-')}" for name in files}
    for name in files:
        assert COMMANDS[f"gfl-{name.replace('_', '-')}"] == f"gfl_tf.commands.{name}:run"
        assert f"from gfl_tf.commands.{name} import run" in (ROOT / "bin" / name).read_text()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_is_the_commands_own(command):
    done = as_installed(command, "--help")
    examples, _, flags = done.stdout.partition("\nflags:\n")
    assert f"\n    {command} --" in examples
    assert f"\n{command}:\n  --" in flags and "--alsologtostderr" not in flags
    assert not done.stderr, "TensorFlow should not even be imported"


def test_bin_shows_the_same_help():
    done = run([sys.executable, ROOT / "bin" / "train", "--help"])
    assert done.stdout.replace(str(ROOT / "bin" / "train"), "gfl-train") == as_installed("gfl-train", "--help").stdout


def test_unknown_argument():
    done = as_installed("gfl-evaluate", "--run_dir=x", "more")
    assert done.returncode == 1 and "Unknown argument: more" in done.stderr


def test_unknown_config():
    done = as_installed("gfl-train", "--config=gflv2_shape", "--run_dir=x")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("--config: no config named 'gflv2_shape'") and "gflv2_shapes" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_start_is_quiet(tmp_path):
    done = as_installed("gfl-evaluate", f"--run_dir={tmp_path}")
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("evaluate: "), done.stderr


@pytest.mark.parametrize("ending", ["raise ImportError('broken')", "os.abort()"])
def test_what_tensorflow_says_before_it_fails_is_shown(tmp_path, ending):
    (tmp_path / "tensorflow.py").write_text(f"import os\nos.write(2, b'no AVX here\\n')\n{ending}\n")
    done = as_installed("gfl-evaluate", "--run_dir=x", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode != 0 and "no AVX here" in done.stderr
    assert "broken" in done.stderr or "Aborted" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config=gflv2_shapes", "--no_such_flag"], "Unknown command line flag 'no_such_flag'"),
        (["--config=gflv2_shapes", "--strategy=x"], "--strategy=x: value should be one of"),
        (["--config=gflv2_shap"], "--config: no config named 'gflv2_shap'"),
        ([], "nowhere holds no run"),
        (["--config.train.epochs=x"], "--config.train.epochs=x: invalid literal"),
        (["--config=gflv2_shapes", "--config.train.epochs", "x"], "--config.train.epochs=x: invalid literal"),
        (["--config=gflv2_shapes", "--config.train.epoch=3"], "--config.train.epoch: .* Did you mean train.epochs, "),
        (["--config=gflv2_shapes", "--config.data.cache", "more"], "--config.data.cache=more: .*Non-boolean"),
        (
            ["--config=gflv2_shapes", "--config.train.epochs=0"],
            "config.train.epochs is 0; it must be a whole number of at least 1",
        ),
        (
            ["--config=gflv2_shapes", "--config.train={'epoch': 3}"],
            "config.train has no field epoch. Did you mean epochs. It has ",
        ),
        (["--flagfile=no_such_file"], "no_such_file"),
        (["--config=small", "--config.precison=float32"], "--config.precison: .* Did you mean precision"),
        (
            ["--config=small", "--config.train.batchsize=3"],
            "--config.train.batchsize: .* Did you mean train.batch_size",
        ),
        (["--config=nope.py"], "^--config: no config file at nope.py: "),
        (["--config=small", "--config.train.learning_rate=-1"], "learning_rate is -1.0; it must be a number above 0"),
        (["--config=small", "--config.data.val_images=no"], "config.data.val_images: there is no folder .*/no. "),
    ],
)
def test_what_is_wrong_is_said_before_tensorflow_comes(tmp_path, arguments, message):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('imported too early')\n")
    done = as_installed("gfl-train", "--run_dir=nowhere", *arguments, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 1 and re.search(message, done.stderr)
    assert "too early" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config=gflv2_shapes:gfl3"], "gfl-train: the detector is 'gfl3'; it must be one of "),
        (["--config=papers:gfl_9"], "gfl-train: there is no table 'gfl_9'; choose one of "),
        (["--config=gflv2_shapes", "--config.model.boxes.bins=4"], "gfl-train: --config.model.boxes.bins: "),
    ],
)
def test_what_is_wrong_of_the_model_is_one_line(arguments, message):
    done = as_installed("gfl-train", "--run_dir=nowhere", *arguments)
    assert done.returncode == 1 and done.stderr.startswith(message) and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, others, fields",
    [
        (["--config=a", "--config.b.c=1", "--run_dir=r"], ["--config=a", "--run_dir=r"], ["--config.b.c=1"]),
        (["--config.b", "1", "--x"], ["--x"], ["--config.b=1"]),
        (["-config.b", "-1", "--config.c"], [], ["-config.b=-1", "--config.c"]),
        (["--noconfig.b", "--config.c", "--x"], ["--x"], ["--noconfig.b", "--config.c"]),
        (["--", "--config.b=1"], ["--", "--config.b=1"], []),
    ],
)
def test_fields_of_the_config_are_taken_apart(arguments, others, fields):
    assert start.split_arguments(["train", *arguments]) == (["train", *others], fields)
