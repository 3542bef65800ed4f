import os
import signal

import pytest

from gfl_tf.training.stop import StopRequest


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


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
