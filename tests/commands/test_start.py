"""What all commands share: their start, by bin/NAME and by gfl-NAME alike."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gfl_tf import config_files
from gfl_tf.commands import start

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


def test_config_names_become_paths():
    path = str(config_files.find("gflv2_shapes"))
    arguments = ["train", "--config=gflv2_shapes", "--run_dir=gflv2_shapes", "--config.name=gflv2_bccd"]
    assert start.find_config(arguments) == ["train", f"--config={path}", *arguments[2:]]
    assert start.find_config(["train", "--config", "gflv2_shapes"]) == ["train", "--config", path]
    assert start.find_config(["train", "--config=gflv2_shapes:x"]) == ["train", f"--config={path}:x"]
    assert start.find_config(["train", "--", "--config=x"]) == ["train", "--", "--config=x"]
