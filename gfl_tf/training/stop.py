"""Ctrl-C, SIGTERM and a closed terminal as a wish to stop at the next good place."""

import contextlib
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Inside this context, the first SIGINT, SIGTERM or SIGHUP only sets `signal`.

    The second SIGINT or SIGTERM acts as ever. A second SIGHUP does nothing: a terminal that is closed can send several.
    Where SIGHUP is ignored, as under nohup, it stays so.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        # Python allows handlers in the main thread alone; elsewhere a run just cannot be stopped this way.
        if threading.current_thread() is threading.main_thread():
            numbers = [number for number in SIGNALS if not _is_ignored_hangup(number)]
            self._before = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *error):
        self._restore(list(self._before))

    def _on_signal(self, number, frame):
        if self.signal:
            return
        self.signal = number
        self._restore([number for number in self._before if number != signal.SIGHUP])
        # Not print: the signal may have come in the middle of one. There may be no terminal any more.
        with contextlib.suppress(OSError):
            os.write(2, b"\nStopping after this step. Once more stops at once, and loses what was not saved.\n")

    def _restore(self, numbers):
        for number in numbers:
            signal.signal(number, self._before.pop(number))


def _is_ignored_hangup(number):
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN
