"""One training at a time in a run directory."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from gfl_tf.training import lock

HOLDER = """
import sys, time
from gfl_tf.training import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "train.lock"


def test_a_second_one_is_refused_until_the_first_ends(path):
    path.parent.mkdir()
    with lock.held(path):
        with pytest.raises(ValueError, match=f"{path.parent} is in use by process {os.getpid()} on .*--run_dir"):
            with lock.held(path):
                pass
        assert path.exists()
    assert not path.exists()
    with lock.held(path):
        pass


def test_it_ends_with_its_process(path):
    path.parent.mkdir()
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {holder.pid} on "), lock.held(path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert path.exists()
    with lock.held(path):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_file_that_was_removed_in_between_does_not_count(path, monkeypatch):
    path.parent.mkdir()
    flock, calls = fcntl.flock, []

    def remove_first(file, how):
        if not calls:
            path.unlink()
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with lock.held(path):
        assert len(calls) == 2 and path.exists()


def test_a_file_system_without_locks_is_said(path, monkeypatch, caplog):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    path.parent.mkdir()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.held(path):
        assert "cannot be locked (No locks available)" in caplog.text
    assert not path.exists()
