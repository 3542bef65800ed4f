"""An image file that goes bad while a command runs: one line, no traceback."""

import types

import pytest
import tensorflow as tf

from gfl_tf.commands import evaluate, train
from gfl_tf.data import images
from gfl_tf.training import evaluate_run, fit


@pytest.mark.parametrize(
    "command, module, function", [(train, fit, "train"), (evaluate, evaluate_run, "evaluate_run")], ids=str
)
def test_one_line(command, module, function, monkeypatch, tmp_path):
    def read_images(*arguments):
        next(iter(tf.data.Dataset.from_tensors((str(tmp_path / "a.png"), [5, 7])).map(images.read_rgb)))

    flags = dict.fromkeys("config run_dir strategy checkpoint annotations images output batch_size tta".split())
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(tta_scales=None, tta_flip=True, **flags))
    monkeypatch.setattr(module, function, read_images)
    with pytest.raises(SystemExit) as error:
        command.main()
    name = command.__name__.rpartition(".")[2]
    assert str(error.value).startswith(f"{name}: Image file {tmp_path / 'a.png'} cannot be read")
    assert "\n" not in str(error.value)
