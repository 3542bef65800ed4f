"""bin/compare through its real command line."""

import json

from gfl_tf.training.evaluate_run import evaluate_run


def test_a_run_and_an_evaluation_of_it(trained_run, command, tmp_path):
    """The same weights, evaluated before and by the command itself."""
    evaluate_run(trained_run.directory, "last", output=tmp_path / "before")
    runs = f"--runs={tmp_path / 'before'},{trained_run.directory}"
    done = command("compare", runs, "--checkpoint=last", "--resamples=100", f"--output={tmp_path / 'compared'}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{trained_run.directory} is evaluated on" in done.stdout and "AP of each class" in done.stdout
    assert (trained_run.directory / "evaluation" / "last-val" / "metrics.json").exists()
    content = json.loads((tmp_path / "compared" / "compare.json").read_text())
    before, now = content["runs"]
    assert before["metrics"] == now["metrics"] and now["name"] == trained_run.directory.name
    for difference in content["differences_from_first"][0]["metrics"].values():
        assert difference is None or (difference["low"], difference["high"]) == (0, 0)
    assert (tmp_path / "compared" / "index.html").read_text().startswith("<!doctype html>")


def test_what_is_wrong_is_one_line(command, tmp_path):
    done = command("compare", f"--runs={tmp_path},nowhere", f"--output={tmp_path}")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"compare: --runs: {tmp_path} is neither") and len(done.stderr.splitlines()) == 1
