"""Files that are whole or not there at all, and what is told of those that are damaged."""

import collections.abc
import contextlib
import hashlib
import json
import os
import pathlib
import typing
import uuid

from absl import logging


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w", synced: bool = False) -> collections.abc.Iterator[typing.IO]:
    """Context that yields an open file, which takes the place of `path` at the end; nobody sees it half written.

    Several processes, on one machine or several, may write the same file. Where the context raises, `path` stays as it
    was.

    Args:
        path: of the file; its folder must be there.
        mode: "w", text in UTF-8, or "wb".
        synced: wait until it lies on the disk, so that a power cut does not undo it.

    Raises:
        OSError: it cannot be written, as where the disk is full; says which file.
    """
    path = pathlib.Path(path)
    # The ids of processes on several machines, or in containers, may be the same.
    partial = path.with_name(f".partial-{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{path} cannot be written, and stays as it was: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


def write(path: str | os.PathLike, content: str | bytes, synced: bool = False) -> None:
    """Writes a file that nobody sees half written; arguments and errors are those of `replacing`."""
    with replacing(path, "w" if isinstance(content, str) else "wb", synced) as file:
        file.write(content)


def remove_partial(folder: str | os.PathLike) -> None:
    """Removes what `replacing` left in a folder where its process was killed; nobody else may be writing there."""
    for partial in pathlib.Path(folder).glob(".partial-*"):
        partial.unlink(missing_ok=True)


def read_json(path: str | os.PathLike) -> typing.Any:
    """The content of a JSON file.

    Raises:
        ValueError: it cannot be read, or is damaged; says which file.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def read_good(
    path: pathlib.Path, read: collections.abc.Callable[[pathlib.Path], typing.Any], default: typing.Any = None
) -> typing.Any:
    """read(path), or `default`: where there is no such file, or where it raises ValueError, which is warned of."""
    return dict(good([path] if path.exists() else [], read)).get(path, default)


def sha256(path: str | os.PathLike) -> str:
    """The checksum of a file's content, in hexadecimal digits; OSError: it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 22):
            digest.update(part)
    return digest.hexdigest()


Name = typing.TypeVar("Name")


def good(
    names: collections.abc.Iterable[Name], read: collections.abc.Callable[[Name], typing.Any]
) -> collections.abc.Iterator[tuple[Name, typing.Any]]:
    """(name, read(name)), one after the other, of those that can be read; warns of those of which it raises ValueError.

    The first of them is the newest good one where the newest come first.
    """
    for name in names:
        try:
            content = read(name)
        except ValueError as error:
            logging.warning("%s. It is left out.", error)
        else:
            yield name, content
