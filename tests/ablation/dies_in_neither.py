"""train_child, which is killed at the first checkpoint of a run of the row "neither", as by a lack of memory."""

import os
import runpy
import signal
import sys

from gfl_tf.training import checkpoint

save = checkpoint.Checkpoints.save


def save_and_die(self):
    save(self)
    if "/neither/" in sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)


checkpoint.Checkpoints.save = save_and_die
runpy.run_module("gfl_tf.commands.train_child", run_name="__main__")
