"""One training at a time in a run directory."""

import collections.abc
import contextlib
import fcntl
import os
import pathlib
import socket

from absl import logging


@contextlib.contextmanager
def held(
    path: str | os.PathLike,
    remedy: str = "A run directory has one training at a time. Wait for it, stop it, or choose another --run_dir.",
) -> collections.abc.Iterator[None]:
    """Context in which this process alone holds the lock file `path`, which says its computer and its id.

    The lock is `flock`'s: it ends with the process, however that ends. On NFS, Linux makes it a lock of the server, for
    all computers; it then ends with the process, or some minutes after its computer was lost. With the mount options
    "nolock" or "local_lock=flock" it holds on one computer alone. Where a file system has no locks, a warning says so.

    Raises:
        ValueError: another process holds it; says which, and the remedy.
    """
    path = pathlib.Path(path)
    file = _lock(path, remedy)
    try:
        yield
    finally:
        if file:
            path.unlink(missing_ok=True)
            file.close()


def _lock(path, remedy):
    """The open and locked file, or None where there are no locks."""
    while True:
        file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ValueError(f"{path.parent} is in use by {holder}. {remedy}") from error
        except OSError as error:
            file.close()
            path.unlink(missing_ok=True)
            logging.warning(
                "%s cannot be locked (%s): start no second process in this directory.", path.parent, error.strerror
            )
            return None
        if path.exists() and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
            file.truncate(0)
            print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
            return file
        file.close()  # whoever held it removed it in between
