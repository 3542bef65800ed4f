"""Files that are whole or not there at all."""

import collections.abc
import contextlib
import os
import pathlib
import typing


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w") -> collections.abc.Iterator[typing.IO]:
    """Context that yields an open file, which takes the place of `path` at the end; nobody sees it half written.

    Several processes may write the same file. Where the context raises, `path` stays as it was.

    Args:
        path: of the file; its folder must be there.
        mode: "w", text in UTF-8, or "wb".
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
