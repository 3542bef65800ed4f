import errno
import os
import signal

import pytest

from gfl_tf.training.stop import SIGNALS, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_a_request_and_the_second_acts(number, capfd):
    caught = []
    outer = signal.signal(number, lambda *_: caught.append(True))
    try:
        with StopRequest() as stop:
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop.signal == number and not caught
            os.kill(os.getpid(), number)
            assert caught
        assert "Stopping after this step" in capfd.readouterr().err
    finally:
        signal.signal(number, outer)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGHUP])
def test_a_closed_terminal_stops_once_and_never_at_once(first):
    caught = []
    outer = signal.signal(signal.SIGHUP, lambda *_: caught.append(True))
    try:
        with StopRequest() as stop:
            for number in (first, signal.SIGHUP, signal.SIGHUP):
                os.kill(os.getpid(), number)
            assert stop.signal == first and not caught
    finally:
        signal.signal(signal.SIGHUP, outer)


def test_nohup_stays():
    outer = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, outer)


def test_nobody_reads_what_is_said(monkeypatch):
    def no_terminal(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", no_terminal)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.signal == signal.SIGHUP


@pytest.mark.parametrize("number", SIGNALS)
def test_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with StopRequest():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
