"""What a run tells while it goes: the progress bar, lines of text, times."""

import contextlib
import datetime
import os
import shutil
import sys
import time

BAR_WIDTH = 24
REDRAW_SECONDS = 0.2


class Progress:
    """Lines on the screen and in a log file; on a terminal also one line that is drawn over and over.

    Args:
        log_file: path of the text log, to which lines are added.
        stream: where to print; default standard output.
    """

    def __init__(self, log_file, stream=None):
        self._log_file = log_file
        self._log = open(log_file, "a", encoding="utf-8")
        self._stream = stream or sys.stdout
        self._is_terminal = self._stream.isatty()
        self._drawn = 0
        self._drawn_at = 0.0

    def say(self, text):
        """A line that stays.

        Raises:
            OSError: the log cannot be written.
        """
        self._clear()
        self._print(f"{text}\n")
        stamp = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        try:
            print("\n".join(f"{stamp} {line}" for line in text.splitlines()), file=self._log, flush=True)
        except OSError as error:
            raise OSError(error.errno, f"{self._log_file} cannot be written: {error.strerror}") from error

    def draw(self, done, total, text):
        """The bar, at `done` of `total`, and text after it; only on a terminal, and not too often."""
        now = time.perf_counter()
        if not self._is_terminal or now - self._drawn_at < REDRAW_SECONDS:
            return
        filled = BAR_WIDTH * done // max(total, 1)
        line = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {done}/{total}  {text}"
        line = line[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be drawn over
        self._clear()
        self._print(line)
        self._drawn, self._drawn_at = len(line), now

    def _clear(self):
        if self._drawn:
            # Up to the cursor's line start, then blanks: works where escape codes do not.
            self._print("\r" + " " * self._drawn + "\r")
            self._drawn = 0

    def _print(self, text):
        try:
            print(text, end="", file=self._stream, flush=True)
        except OSError:  # the terminal was closed, or who read the pipe is gone: the log is enough
            # What the stream still holds, and all that comes, goes nowhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._is_terminal = False

    def close(self):
        self._clear()
        with contextlib.suppress(OSError):  # `say` has told of a log that cannot be written
            self._log.close()


class StepTimer:
    """Seconds of the steps since the last `restart`, and those of them spent waiting for data."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.steps = 0
        self.data_seconds = 0.0
        self._start = time.perf_counter()

    def add(self, data_seconds):
        self.steps += 1
        self.data_seconds += data_seconds

    @property
    def seconds_per_step(self):
        return (time.perf_counter() - self._start) / max(self.steps, 1)

    @property
    def data_seconds_per_step(self):
        return self.data_seconds / max(self.steps, 1)


class Countdown:
    """Time left of work that goes on evenly but for its first part, which compiles."""

    def __init__(self):
        self._first = None

    def left(self, done, total):
        """As text, when `done` of `total` are done; to be called after each part."""
        now = time.perf_counter()
        if self._first is None:
            self._first = done, now
        first, start = self._first
        if done == first:
            return "time left not known yet"
        return f"{duration((now - start) / (done - first) * (total - done))} left"


def duration(seconds):
    """Hours, minutes and seconds, as 1:02:03."""
    return str(datetime.timedelta(seconds=int(round(seconds))))
