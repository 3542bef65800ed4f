"""The bar and the lines."""

import io
import os

import pytest
import tensorflow as tf

from gfl_tf.training import progress as progress_module
from gfl_tf.training.progress import Countdown, Progress, duration
from gfl_tf.training.report import StepReport

pytestmark = pytest.mark.one_stack


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def _report(progress, total_steps=6, log_every=2):
    return StepReport(progress, total_steps, 3, batch_size=4, log_every=log_every, schedule=lambda step: 0.1 * step)


def _metrics(loss):
    return {"loss": tf.constant(loss), "box_loss": tf.constant(0.5), "mean_iou": tf.constant(0.25)}


def test_lines_without_a_terminal(tmp_path):
    stream = io.StringIO()
    report = _report(Progress(tmp_path / "log", stream))
    ends = [report.step_done(step, _metrics(1.5), 0.0) for step in range(1, 7)]
    assert ends == [False, True, False, True, False, True]
    lines = stream.getvalue().splitlines()
    # The first step, too: it shows that all is well.
    assert [line.split("  ")[0] for line in lines] == ["step 1/6", "step 2/6", "step 4/6", "step 6/6"]
    assert "epoch 0.67  loss 1.5 (box 0.5)  lr 0.1  mean_iou 0.25" in lines[1]
    assert lines[0].endswith("not known yet") and lines[-1].endswith("0:00:00 left")
    logged = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in logged] == lines


def test_bar_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_module, "REDRAW_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "60")
    stream = _Terminal()
    progress = Progress(tmp_path / "log", stream)
    progress.draw(3, 6, "x" * 100)
    bar = stream.getvalue()
    assert bar.startswith("[############............] 3/6  xxx") and len(bar) == 59
    progress.say("a line")
    assert stream.getvalue() == bar + "\r" + " " * 59 + "\ra line\n"
    assert "#" not in (tmp_path / "log").read_text()


def test_skipped_steps_are_counted(tmp_path):
    stream = io.StringIO()
    report = _report(Progress(tmp_path / "log", stream))
    for step in range(1, 5):
        report.step_done(step, _metrics(1.5), 0.0, 0.0, skipped=step // 3)
    assert [line.endswith(" left  1 skipped") for line in stream.getvalue().splitlines()] == [False, False, True]


def test_duration():
    assert [duration(seconds) for seconds in (0.4, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]


def test_evaluations_of_unknown_length_are_named(tmp_path):
    stream = io.StringIO()
    report = _report(Progress(tmp_path / "log", stream))
    for step in range(1, 7):
        report.step_done(step, _metrics(1.5), 0.0, None if step < 5 else 60.0)
    lines = stream.getvalue().splitlines()
    assert lines[2].endswith("0:00:00 left, evaluations not counted") and lines[3].endswith("0:01:00 left")


def test_countdown_leaves_the_first_part_out(monkeypatch):
    times = iter([100.0, 102.0, 104.0])
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: next(times))
    countdown = Countdown()
    left = [countdown.left(done, 40) for done in (4, 8, 12)]
    assert left == ["time left not known yet", "0:00:16 left", "0:00:14 left"]


def test_a_closed_terminal_leaves_the_log(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        progress = Progress(tmp_path / "log", stream)
        for line in ("one", "two"):
            progress.say(line)
        progress.close()
    assert [line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == ["one", "two"]


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    log = tmp_path / "log"
    log.symlink_to("/dev/full")
    progress = Progress(log, io.StringIO())
    with pytest.raises(OSError, match=f"{log} cannot be written: No space left on device"):
        progress.say("a line")
    progress.close()
