"""Flags of gfl-review."""

import sys

import pytest

from gfl_tf.commands import review as command
from tests.commands.test_start import ROOT, run

pytestmark = pytest.mark.one_stack


def test_unknown_kind(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('imported too early')\n")
    flags = ["--run_dir=nowhere", "--output=nowhere", "--kinds=edges,sides"]
    done = run([sys.executable, ROOT / "bin" / "review", *flags], PYTHONPATH=f"{tmp_path}:{ROOT}")
    wanted = f"--kinds has 'edges,sides'; give some of {','.join(command.KINDS)}."
    assert done.returncode == 1 and wanted in done.stderr and "too early" not in done.stderr
