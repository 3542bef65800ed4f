import subprocess
import sys

import pytest

from gfl_tf.comparison import names

pytestmark = pytest.mark.one_stack


@pytest.mark.parametrize(
    "paths, message",
    [
        ([], "--runs has no run, and nothing to compare with"),
        (["a"], "--runs has a, and nothing to compare with"),
        (["a", "b", "a"], "--runs has a twice"),
        (["a", "b"], "a is neither a run directory, with config.json, nor a folder .* with metrics.json"),
    ],
)
def test_what_cannot_be_compared_is_named(paths, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        names.check(paths)


def test_runs_are_called_by_their_folders_unless_these_are_alike():
    assert names.short(["x/a/", "y/b"]) == ["a", "b"]
    assert names.short(["x/a", "y/a", "z/b"]) == ["x/a", "y/a", "z/b"]


def test_names_are_checked_before_tensorflow_comes():
    program = "import sys; import gfl_tf.comparison.names; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
