"""bin/compare through its real command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def compare(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bin" / "compare"), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_two_evaluations(evaluation, tmp_path):
    output = tmp_path / "new" / "comparison"
    runs = f"--runs={evaluation('good', 1.0)},{evaluation('bad', 4.0)}"
    done = compare(runs, "--resamples=100", "--seed=3", f"--output={output}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Differences from good" in done.stdout and f"Written to {output}" in done.stdout
    content = json.loads((output / "compare.json").read_text())
    assert content["bootstrap"] == {"resamples": 100, "seed": 3, "level": 0.95}
    assert (output / "index.html").read_text().startswith("<!doctype html>")


def test_what_is_wrong_is_one_line(tmp_path):
    done = compare(f"--runs={tmp_path},nowhere", f"--output={tmp_path}")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"compare: --runs: {tmp_path} is neither") and len(done.stderr.splitlines()) == 1
