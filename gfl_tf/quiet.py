"""Without the remarks of libraries that say nothing to the user of a command."""

import collections.abc
import contextlib
import logging


@contextlib.contextmanager
def loggers(*names: str, level: int = logging.ERROR) -> collections.abc.Iterator[None]:
    """Context in which these loggers of Python's say nothing below a level; absl's is "absl"."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, old in before.items():
            logging.getLogger(name).setLevel(old)
