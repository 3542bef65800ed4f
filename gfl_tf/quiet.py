"""Without the remarks of libraries that say nothing to the user of a command."""

import collections.abc
import contextlib
import logging

from absl import logging as absl_logging


@contextlib.contextmanager
def loggers(*names: str, level: int = logging.WARNING) -> collections.abc.Iterator[None]:
    """Context in which these loggers of Python's say nothing below a level."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)


@contextlib.contextmanager
def absl() -> collections.abc.Iterator[None]:
    """Context in which absl, by which TensorFlow logs, says warnings alone."""
    before = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.WARNING)
    try:
        yield
    finally:
        absl_logging.set_verbosity(before)
