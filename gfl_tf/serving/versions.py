"""Numbered versions in a folder, as TensorFlow Serving watches them: whole or absent, never overwritten."""

import collections.abc
import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
import platform
import shutil
import tempfile
import time
import uuid

from absl import logging

FORGOTTEN_SECONDS = 24 * 60 * 60


@dataclasses.dataclass
class Version:
    """A version that is being made.

    Attributes:
        partial: hidden, empty folder to write the version into.
        path: None, and once the version is complete, its folder under its number.
    """

    partial: pathlib.Path
    path: pathlib.Path = None


@contextlib.contextmanager
def new_version(directory: str | os.PathLike, keep: int = 0) -> collections.abc.Iterator[Version]:
    """Context that yields a `Version` of `directory` to write; it gets its number, one above the highest, at the end.

    The version appears under its number with everything in it, on the disk, or not at all: also when the process is
    killed or the power fails. Several may be made at once, in one process, on one machine or on several that share the
    folder. An exception in the context leaves nothing behind in it. A process that is killed leaves a hidden folder
    ".exporting-*", which the next `new_version` on that machine deletes; one on another machine does a day later.

    Args:
        directory: of all versions; made if it is missing.
        keep: delete older versions then, so that this many are left, those of the highest numbers; 0: keep all. A
            server that is still loading a version when it is deleted fails to; so 2 is better than 1.

    Raises:
        ValueError: `keep` is negative, or nothing was written.
    """
    if keep < 0:
        raise ValueError(f"keep is {keep}; give the number of versions to keep, or 0 to keep all")
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _delete_leftovers(directory)
    hidden, lock = _hidden_folder(directory)
    try:
        # One folder deeper, as the outer one is readable by its owner alone, and a server may be another user.
        version = Version(hidden / "version")
        version.partial.mkdir()
        yield version
        if not any(version.partial.iterdir()):
            raise ValueError(f"nothing was written to {version.partial}, so there is no version to add to {directory}")
        _to_disk(version.partial)
        version.path = take_next_version(version.partial, directory)
    finally:
        lock.close()
        _delete(hidden)
    if keep:
        _prune(directory, keep, version.path)


def find(path: str | os.PathLike) -> pathlib.Path:
    """The folder of one version: `path`, or the newest version in it where it has the versions of a model.

    Raises:
        ValueError: it is neither.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        numbered = [entry for entry in _numbered(path) if (entry[1] / "assets.extra").is_dir()]
        path = max([*numbered, (0, path)])[1]
    if not (path / "assets.extra").is_dir():
        raise ValueError(
            f"{path} is no exported model; give saved_models/NAME, or saved_models/NAME/VERSION, of gfl-export"
        )
    return path


def take_next_version(complete: str | os.PathLike, directory: pathlib.Path) -> pathlib.Path:
    """Moves the folder `complete`, which must not be empty, to the next version of `directory`; returns its path."""
    with _taking_turns(directory):
        number = 1 + max([0, *(number for number, _ in _numbered(directory))])
        while True:
            target = directory / str(number)
            # A rename replaces an empty folder, which is none of ours, and fails at any other: so a number is taken by
            # one alone also where the file system has no locks.
            if not os.path.lexists(target):
                try:
                    os.rename(complete, target)
                    _fsync_folder(directory)
                    return target
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
            number += 1


def _numbered(directory):
    """[(number, path)] of all that has a number as its name."""
    names = [path for path in directory.iterdir() if path.name.isascii() and path.name.isdecimal()]
    return [(int(path.name), path) for path in names]


def _prune(directory, keep, made):
    folders = [entry for entry in _numbered(directory) if entry[1].is_dir() and not entry[1].is_symlink()]
    for _, path in sorted(folders)[:-keep]:
        if path != made:  # others may have added `keep` versions meanwhile; those delete it, or keep it
            _delete(path)


@contextlib.contextmanager
def _taking_turns(directory):
    """One process at a time, where the file system has locks, so that no number is taken twice.

    Without it a number could be found free, taken by another, pruned by a third, and taken again.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        for _ in range(1000):  # ten seconds, where a turn takes milliseconds; then something else has the lock
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:  # NFS has no locks on folders
                break
        yield
    finally:
        os.close(descriptor)


def _hidden_folder(directory):
    """A new folder of this process, and its open lock file, which says that the process lives."""
    while True:
        hidden = pathlib.Path(tempfile.mkdtemp(prefix=f"{_prefix()}-", dir=directory))
        try:
            lock = _claim(hidden)
        except OSError:  # a file system without locks: nobody else can claim the folder either
            lock = open(hidden / "lock", "a")
        if lock:
            return hidden, lock


def _claim(hidden):
    """The open lock file of a hidden folder, for as long as it is open; None where another process has it.

    Who made the folder claims it before writing, and who would delete it claims it too. So one of them gets it, and a
    maker who comes second makes another folder.
    """
    try:
        lock = open(hidden / "lock", "a")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(hidden / "lock"):  # not renamed by the last one who had it
            return lock
    except BlockingIOError:
        pass
    except OSError:
        lock.close()
        raise
    lock.close()
    return None


def _delete_leftovers(directory):
    """Deletes what processes left that were killed; never anything of a process that lives."""
    for leftover in directory.glob(".exporting-*"):
        try:
            # Some shared file systems keep a lock to the machine that has it: for the others, age must tell.
            of_this_machine = leftover.name.rpartition("-")[0] == _prefix()
            if of_this_machine or time.time() - _last_change(leftover) > FORGOTTEN_SECONDS:
                lock = _claim(leftover)
                if lock:
                    with lock:
                        _hide(leftover)
        except OSError:  # another user's, just gone, or without locks: left alone
            continue
    for path in directory.glob(".deleting-*"):
        shutil.rmtree(path, ignore_errors=True)


def _prefix():
    return f".exporting-{platform.node()}"


def _last_change(folder):
    return max(path.lstat().st_mtime for path in [folder, *folder.rglob("*")])


def _delete(path):
    """Deletes a folder, first under another name so that nobody sees half of it. What fails is tried again later."""
    hidden = _hide(path)
    if hidden:
        shutil.rmtree(hidden, ignore_errors=True)


def _hide(path):
    """Renames a folder to one that anybody may delete, and returns it; None where it is gone or cannot be renamed."""
    hidden = path.with_name(f".deleting-{uuid.uuid4().hex}")
    try:
        os.rename(path, hidden)
    except FileNotFoundError:
        return None
    except OSError as error:
        logging.warning("%s could not be deleted: %s", path, error)
        return None
    return hidden


def _to_disk(folder):
    """Waits until all in `folder` is on the disk; before, a power cut may leave a renamed folder with empty files."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _fsync_folder(parent)


def _fsync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot, and lose nothing by it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
