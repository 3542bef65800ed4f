"""gfl-train in a process of its own, which stops when the process that started it is gone: its standard input ends."""

import os
import signal
import sys
import threading

from gfl_tf.commands import train


def _stop_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be in the way when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # the training saves what it has


if __name__ == "__main__":
    sys.argv[0] = "gfl-train"
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    train.run()
