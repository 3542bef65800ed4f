"""Ctrl-C and SIGTERM as a wish to stop at the next good place."""

import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Inside this context, the first SIGINT or SIGTERM only sets `signal`; the second one acts as ever.

    Attributes:
        signal: number of the signal that came, or None.
    """

    def __init__(self):
        self.signal = None
        self._before = {}

    def __enter__(self):
        # Python allows handlers in the main thread alone; elsewhere a run just cannot be stopped this way.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *error):
        self._restore()

    def _on_signal(self, number, frame):
        self.signal = number
        self._restore()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping after this step. Once more stops at once, and loses what was not saved.\n")

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
