"""Two rows of a table trained in seconds: one training is killed, the other goes on, and the next call mends it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gfl_tf.ablation import ablate, page, plan, text
from gfl_tf.ablation.ablate import Ablation
from gfl_tf.ablation.plan import Budget, Training
from gfl_tf.training import run_dir
from tests.data.formats import examples

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "ablation"
NEITHER, QFL = Training("neither", 0), Training("qfl", 0)


def ablation_in(folder, table="gfl_3", rows=("neither", "qfl"), seeds=(0,), fields=()):
    overrides = f"--config.data.directory={folder}/shapes", *fields
    return Ablation(table, str(HERE / "base.py"), overrides, folder / "out", rows, seeds, "best")


def run(ablation, program=("-m", "gfl_tf.commands.train_child"), budget=Budget(None)):
    said = []
    environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = ["env", *(f"{name}={value}" for name, value in environment.items()), sys.executable, *program]
    found, stopped_by = ablate.run(ablation, command, budget, said.append, lambda found: page.write(ablation, found))
    assert stopped_by is None
    return found, "\n".join(said)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(folder, what is known, what was said) after a call in which one of two trainings was killed."""
    folder = tmp_path_factory.mktemp("ablation")
    return folder, *run(ablation_in(folder), (str(HERE / "dies_in_neither.py"),))


def test_a_training_that_fails_is_told_and_the_others_go_on(killed):
    folder, found, said = killed
    assert found.states == {NEITHER: plan.CUT, QFL: plan.FINISHED}
    assert found.failures == {NEITHER: "ended by SIGKILL, as where the memory is used up"}
    assert set(found.results) == {"qfl"} and set(found.results["qfl"][0]) == {"AP", "AP50", "AP75"}
    assert re.search(r"neither, seed 0 failed: ended by SIGKILL.*stderr\.txt", said)
    assert re.search(r"^qfl, seed 0: AP \d+\.\d, after 0:0", said, re.MULTILINE)


def test_settings_and_data_of_a_run_stay_the_same(killed):
    folder = killed[0]
    other = ablation_in(folder, fields=["--config.train.learning_rate=0.03"])
    with pytest.raises(ValueError, match=r"neither/seed_0 holds .*learning_rate: 0.08 in the run, now 0.03.*--output"):
        run(other)
    other = ablation_in(folder, fields=["--config.data.val_share=0.5"])
    with pytest.raises(ValueError, match="neither/seed_0 holds a run of other settings or data: config.data.val_share"):
        run(other)
    with pytest.raises(ValueError, match="out holds gfl_3, not gfl_2b: choose another --output"):
        run(ablation_in(folder, "gfl_2b", ("12", "14")))


def test_validation_data_without_boxes_are_refused(tmp_path):
    train = examples.write_coco(tmp_path / "train.json", tmp_path / "images")
    val = examples.write_text(tmp_path / "val.json", json.dumps({**json.loads(train.read_text()), "annotations": []}))
    paths = {"train_annotations": train, "val_annotations": val}
    paths |= dict.fromkeys(("train_images", "val_images"), tmp_path / "images")
    fields = [f"--config.data.{name}={path}" for name, path in paths.items()]
    with pytest.raises(ValueError, match="val.json has no box to find"):
        run(ablation_in(tmp_path, fields=["--config.data.source=coco", *fields]))
    assert not (tmp_path / "out" / "neither").exists()


def test_without_time_nothing_is_trained(killed):
    found, said = run(ablation_in(killed[0]), budget=Budget(0))
    assert found.states == {NEITHER: plan.CUT, QFL: plan.FINISHED}
    assert said == "There is no more time. Next is neither, seed 0."


def test_a_training_that_would_not_fit_is_not_begun(killed):
    """How long one takes is known from the one that is finished; what was cut goes on first, and would here."""
    folder, found, _ = killed
    ablation = ablation_in(folder, rows=("qfl", "dfl"))
    found, said = run(ablation, budget=Budget(found.seconds[QFL] / 60 / 2))
    assert found.states == {QFL: plan.FINISHED, Training("dfl", 0): plan.MISSING}
    listed = json.loads((folder / "out" / ablate.FILE).read_text())["trainings"]
    assert {each["row"] for each in listed} == {"qfl", "dfl", "neither"}  # whose seconds the next call needs
    assert re.fullmatch(r"There is no more time. Next is dfl, seed 0, takes about 0:\d+:\d+, and there are .*", said)


def test_it_goes_on_after_the_kill(killed):
    """The last of these tests: the training that was killed is finished from its checkpoint, the other left alone."""
    folder, before, _ = killed
    weights = folder / "out" / "qfl" / "seed_0" / "last.npz"
    written = weights.stat().st_mtime_ns
    ablation = ablation_in(folder)
    found, said = run(ablation)
    assert said.startswith("Going on with neither, seed 0; 1 of 2 are finished. Watch ")
    assert set(found.states.values()) == {plan.FINISHED} and not found.failures
    assert weights.stat().st_mtime_ns == written
    log = run_dir.RunDirectory(folder / "out" / "neither" / "seed_0").log_file.read_text()
    assert re.search(r"Going on from step [1-9]", log)
    assert found.seconds[NEITHER] > found.seconds[QFL] / 4 and found.seconds[QFL] == before.seconds[QFL]

    content = json.loads((folder / "out" / ablate.FILE).read_text())
    assert [row["row"] for row in content["rows"]] == ["neither", "qfl"]
    assert content["rows"][1]["paper"] == {"AP": 39.9, "AP50": 58.5, "AP75": 43.0}
    expected = found.results["qfl"][0]["AP"] - found.results["neither"][0]["AP"]
    (difference,) = content["groups"][0]["differences"]
    assert (difference["row"], difference["paper"], difference["spread"]["mean"]) == ("qfl", 0.7, expected)
    shown = text.render(ablation, found)
    assert "Quality and Distribution Focal Loss on ATSS (GFL, table 3)" in shown and " 39.9 " in shown
    html = (folder / "out" / page.NAME).read_text()
    assert "Differences from neither" in html and "<svg" in html and "+0.7" in html and "missing" not in html


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--table=gfl_4"], "ablate: there is no table 'gfl_4'; choose one of gfl_1a, "),
        (["--table=gfl_3", "--rows=qfl,dfl2"], "ablate: gfl_3 has no row 'dfl2'; choose of neither, qfl, dfl, both"),
        (["--table=gfl_3", "--seeds=0,a"], "ablate: --seeds has '0,a'; give whole numbers from 0 on, none twice"),
        (["--table=gfl_3", "--config.train.epoch=1"], "ablate: --config.train.epoch: the config has no such field"),
    ],
)
def test_what_is_wrong_is_said_before_tensorflow_comes(tmp_path, arguments, message):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('imported too early')\n")
    command = [sys.executable, str(ROOT / "bin" / "ablate"), "--config=small", "--output=x", *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(message) and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_the_exit_status_tells_of_a_failed_training(tmp_path):
    code = "from gfl_tf.commands import ablate; ablate.TRAIN = 'no_such_module'; ablate.run()"
    flags = ["--table=gfl_3", "--rows=qfl", "--seeds=0", f"--config={HERE / 'base.py'}", f"--output={tmp_path / 'out'}"]
    command = [sys.executable, "-c", code, *flags, f"--config.data.directory={tmp_path}/shapes"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "qfl, seed 0 failed: " in done.stdout and f"Written to {tmp_path / 'out'}: " in done.stdout
