"""Checkpoints of a few variables: what is read where files are damaged, what is kept, what is never written."""

import errno
import os
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from gfl_tf import files
from gfl_tf.checkpoints import weight_file
from gfl_tf.training import checkpoint
from gfl_tf.training.checkpoint import Checkpoints
from gfl_tf.training.divergence import DivergedError
from gfl_tf.training.stop import SIGNALS, StopRequest


class Trained:
    """A small model whose weights all are the number of its steps, and its checkpoints."""

    def __init__(self, directory, keep=9, units=2):
        self.model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, name="dense")])
        self.model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
        self.variables = weight_file.layer_variables(self.model)
        self.checkpoints = Checkpoints(self.model, self.variables, directory, keep)

    def save(self, *steps):
        for step in steps:
            self.model.optimizer.iterations.assign(step)
            for variable in self.variables.values():
                variable.assign(tf.fill(variable.shape, float(step)))
            self.checkpoints.save()

    def weights(self):
        return {float(value) for variable in self.variables.values() for value in np.ravel(variable.numpy())}


@pytest.fixture
def directory(tmp_path):
    """With checkpoints of the steps 4 and 8."""
    directory = tmp_path / "checkpoints"
    Trained(directory).save(4, 8)
    return directory


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def _flip_first(path):
    _flip(path, 0)


def _flip_middle(path):
    _flip(path, path.stat().st_size // 2)


def _flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _delete(path):
    path.unlink()


DAMAGES = (_cut, _empty, _zero, _flip_first, _flip_middle, _delete)


@pytest.mark.parametrize("suffix", ["npz", "sha256"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_good_one_is_used_and_the_damaged_one_named(directory, damage, suffix, caplog):
    damage(directory / f"ckpt-8.{suffix}")
    trained = Trained(directory)
    assert trained.checkpoints.restore_latest() == 4 and trained.weights() == {4.0}
    assert int(trained.model.optimizer.iterations.numpy()) == 4
    (warning,) = (record.getMessage() for record in caplog.records)
    assert f"{directory}" in warning and "ckpt-8" in warning


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_taken_over_without_any_good_one(directory, damage, caplog):
    for step in (4, 8):
        damage(directory / f"ckpt-{step}.npz")
    trained = Trained(directory)
    before = trained.weights()
    assert trained.checkpoints.restore_latest() is None and trained.weights() == before
    assert len(caplog.records) == 2


def test_the_newest_is_used_without_a_word(directory, caplog):
    trained = Trained(directory)
    assert trained.checkpoints.restore_latest() == 8 and trained.weights() == {8.0}
    assert not caplog.records
    assert Trained(directory / "none").checkpoints.restore_latest() is None


def test_the_checksum_is_that_of_sha256sum(directory):
    sums = (directory / "ckpt-8.sha256").read_text()
    assert len(sums.split()[0]) == 64 and sums.endswith("  ckpt-8.npz\n")


def test_old_ones_are_removed_and_damaged_ones_do_not_count(directory):
    _cut(directory / "ckpt-8.npz")
    trained = Trained(directory, keep=2)
    trained.checkpoints.restore_latest()
    trained.save(5)
    assert checkpoint.steps(directory) == {4, 5}  # that of step 8 was no longer of this training
    trained.save(6, 7)
    assert sorted(os.listdir(directory)) == ["ckpt-6.npz", "ckpt-6.sha256", "ckpt-7.npz", "ckpt-7.sha256"]


def test_a_checkpoint_of_another_model_is_refused(directory):
    other = Trained(directory, units=5)
    with pytest.raises(ValueError, match=r"checkpoint of step 8 .* does not fit .*weights/.*kernel"):
        other.checkpoints.restore_latest()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["weights", "optimizer"])
def test_what_is_not_finite_replaces_nothing(directory, where, value):
    trained = Trained(directory, keep=1)
    trained.checkpoints.restore_latest()
    trained.model.optimizer.iterations.assign(9)
    name = next(name for name in trained.checkpoints._variables if name.startswith(f"{where}/") and "kernel" in name)
    trained.checkpoints._variables[name].assign(np.full([3, 2], value))
    before = sorted(os.listdir(directory))
    with pytest.raises(DivergedError, match=f"{name} is not finite after step 9. .*--config.train.learning_rate"):
        trained.checkpoints.save()
    assert sorted(os.listdir(directory)) == before
    assert Trained(directory).checkpoints.restore_latest() == 8


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("part", ["arrays", "checksum"])
def test_a_full_or_read_only_disk_leaves_the_last_good_one(directory, part, number, monkeypatch):
    trained = Trained(directory, keep=1)
    before = {path: path.read_bytes() for path in directory.iterdir()}

    def refuse(file, **arrays):
        file.write(b"half")
        raise OSError(number, os.strerror(number))

    if part == "arrays":
        monkeypatch.setattr(np, "savez", refuse)
    else:
        monkeypatch.setattr(checkpoint.files, "sha256", lambda path: refuse(open(os.devnull, "wb")))
    with pytest.raises(OSError, match=rf"ckpt-12\..* cannot be written.*: {os.strerror(number)}") as error:
        trained.save(12)
    assert error.value.errno == number and "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_the_same_step_once_more_on_a_full_disk(directory, monkeypatch):
    monkeypatch.setattr(np, "savez", lambda file, **_: open("/dev/full", "w").write("x" * 100_000))
    with pytest.raises(OSError, match="ckpt-8.npz cannot be written, and stays as it was"):
        Trained(directory).save(8)
    assert Trained(directory).checkpoints.restore_latest() == 8


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_saving(directory, number, monkeypatch):
    def savez(file, savez=np.savez, **arrays):
        os.kill(os.getpid(), number)
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with StopRequest() as stop:
        Trained(directory).save(12)
    assert stop.signal == number and Trained(directory).checkpoints.restore_latest() == 12


def test_a_second_ctrl_c_while_saving(directory, monkeypatch):
    def savez(file, **arrays):
        file.write(b"half")
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    before = {path: path.read_bytes() for path in directory.iterdir()}
    monkeypatch.setattr(np, "savez", savez)
    ordinary = signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in parallel it is ignored
    try:
        with pytest.raises(KeyboardInterrupt), StopRequest():
            Trained(directory).save(12)
    finally:
        signal.signal(signal.SIGINT, ordinary)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("name", ["run[1]", "a b", "Übung", "*", "what?", "{x}", "x" * 255])
def test_any_name_of_a_directory(tmp_path, name):
    Trained(tmp_path / name, keep=1).save(1, 2)
    trained = Trained(tmp_path / name)
    assert trained.checkpoints.restore_latest() == 2 and checkpoint.steps(tmp_path / name) == {2}


def _write_tensorflow(trained, directory, step):
    """As earlier versions of gfl_tf did."""
    groups = {}
    for name, variable in trained.checkpoints._variables.items():
        group, _, own = name.partition("/")
        groups.setdefault(group, {})[own] = variable
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(**groups), str(directory), max_to_keep=9)
    manager.save(checkpoint_number=step)


@pytest.mark.parametrize("state", ["whole", "lost", "cut", "zeroed"])
def test_those_of_earlier_versions_are_found_by_their_files(tmp_path, state):
    trained = Trained(tmp_path / "before")
    trained.save(4)
    _write_tensorflow(trained, tmp_path, 4)
    file = tmp_path / "checkpoint"
    {"whole": lambda _: None, "lost": _delete, "cut": _cut, "zeroed": _zero}[state](file)
    trained = Trained(tmp_path, keep=1)
    assert trained.checkpoints.restore_latest() == 4 and trained.weights() == {4.0}
    trained.save(5)
    assert checkpoint.steps(tmp_path) == {5}


def test_those_of_earlier_versions_that_are_not_finite_are_left_out(directory, caplog):
    trained = Trained(directory)
    trained.checkpoints.restore_latest()
    next(iter(trained.variables.values())).assign(np.full([3, 2], np.nan))
    _write_tensorflow(trained, directory, 12)
    assert Trained(directory).checkpoints.restore_latest() == 8
    assert "kernel is not finite" in caplog.text


@pytest.mark.parametrize("kind", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", [_empty, _flip_first, _delete])
def test_damaged_ones_of_earlier_versions(directory, damage, kind, caplog):
    trained = Trained(directory)
    trained.checkpoints.restore_latest()
    _write_tensorflow(trained, directory, 12)
    damage(directory / f"ckpt-12.{kind}")
    assert Trained(directory).checkpoints.restore_latest() == 8
    assert "ckpt-12" in caplog.text


def test_a_killed_training_leaves_half_written_files_that_go(directory):
    shutil.copy(directory / "ckpt-4.npz", directory / ".partial-1234-ckpt-12.npz")
    files.remove_partial(directory)
    assert not list(directory.glob(".partial*")) and checkpoint.steps(directory) == {4, 8}
