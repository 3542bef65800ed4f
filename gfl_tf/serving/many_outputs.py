"""A folder of results in shards, each of which is there whole or not at all, whoever is killed.

    manifest.json               what the results are made from: model, images, settings; other ones are refused
    done/00003.json             of a shard: numbers, and the images that could not be read
    part-00003-of-00016.jsonl   the shard's rows; once it is there it is never written again

The folder may be local, or at any other path of tf.io.gfile.
"""

import collections.abc
import contextlib
import dataclasses
import io
import json
import os
import typing
import uuid

import tensorflow as tf

from gfl_tf import detections, files

if typing.TYPE_CHECKING:
    import pyarrow

MANIFEST = "manifest.json"
DONE = "done"
FORMATS = ("jsonl", "parquet")


@dataclasses.dataclass(frozen=True)
class Done:
    """What is known of a finished shard.

    Attributes:
        images: all of them, those that could not be read included.
        detections: number of them.
        unreadable: {"image", "record", "error"} of each that could not be read.
    """

    images: int
    detections: int
    unreadable: list[dict[str, str]]


class Output:
    """The folder of the results of `num_images` images, `per_shard` in each shard but the last.

    Attributes:
        num_shards: how many there are.

    Raises:
        ImportError: Parquet, and pyarrow is not installed.
    """

    def __init__(self, folder: str | os.PathLike, format: str, num_images: int, per_shard: int):
        self.folder = os.fspath(folder).rstrip("/")
        self.num_shards = -(-num_images // per_shard)
        self._format, self._num_images, self._per_shard = format, num_images, per_shard
        if format == "parquet":
            _pyarrow()  # or it would be missed after the first shard's work
        self._encode = {"jsonl": _jsonl, "parquet": _parquet}[format]

    def claim(self, settings: dict[str, typing.Any], also: dict[str, typing.Any]) -> None:
        """Writes the manifest, or checks that the one that is there has the same settings.

        Args:
            settings: {flag: value} of what decides the results, besides the format and the size of the shards.
            also: plain values that are only written down.

        Raises:
            ValueError: the folder has results of other settings, or other files.
        """
        settings = {**settings, "--format": self._format, "--images_per_shard": self._per_shard}
        tf.io.gfile.makedirs(self.folder)
        # Listed before the manifest is looked for: another process may begin now, and writes it first.
        others = [name for name in tf.io.gfile.listdir(self.folder) if not name.startswith(".")]
        if not read_manifest(self.folder):
            if others:
                raise ValueError(f"{self.folder} has other files in it, and no {MANIFEST}; choose another --output")
            content = json.dumps({"settings": settings, **also}, indent=1, ensure_ascii=False)
            _write_whole(f"{self.folder}/{MANIFEST}", f"{content}\n".encode())
        tf.io.gfile.makedirs(f"{self.folder}/{DONE}")
        # Read again: another process may have written one, too.
        stored = read_manifest(self.folder).get("settings", {})
        differences = [
            f"{name} was {stored.get(name)}, now {settings.get(name)}"
            for name in {**stored, **settings}
            if stored.get(name) != settings.get(name)
        ]
        if differences:
            raise ValueError(
                f"{self.folder} holds results of other settings: {'; '.join(differences)}. Choose another --output"
            )

    def images_of(self, shard: int) -> range:
        """The indices of the shard's images."""
        return range(shard * self._per_shard, min((shard + 1) * self._per_shard, self._num_images))

    def part(self, index: int, count: int) -> range:
        """The shards of the process `index`, from 0 on, of `count` that share the work: neighbours, all of a size."""
        return range(index * self.num_shards // count, (index + 1) * self.num_shards // count)

    def path(self, shard: int) -> str:
        return f"{self.folder}/part-{shard:05}-of-{self.num_shards:05}.{self._format}"

    def done(self) -> dict[int, Done]:
        """The finished shards.

        Raises:
            ValueError: a shard is there, and what is known of it is not.
        """
        names = set(tf.io.gfile.listdir(self.folder))
        shards = [shard for shard in range(self.num_shards) if os.path.basename(self.path(shard)) in names]
        return {shard: self._read_done(shard) for shard in shards}

    def _read_done(self, shard):
        path = self._done_path(shard)
        try:
            with tf.io.gfile.GFile(path) as file:
                return Done(**json.loads(file.read()))
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read, so that it is not known what {self.path(shard)} has: delete both, and the"
                " shard is made again"
            ) from error

    def _done_path(self, shard):
        return f"{self.folder}/{DONE}/{shard:05}.json"

    def write(self, shard: int, rows: list[dict[str, typing.Any]]) -> Done:
        """Writes a shard that is not finished; where another process has finished it meanwhile, that one stays.

        Raises:
            OSError: it cannot be written, as where the disk is full.
        """
        unreadable = [
            {key: row[key] for key in ("image", "record", "error") if row[key]} for row in rows if row["error"]
        ]
        done = Done(len(rows), sum(len(row["detections"]) for row in rows), unreadable)
        content = json.dumps(dataclasses.asdict(done), ensure_ascii=False).encode()
        # First, so that a shard that is there is never without.
        _write_whole(self._done_path(shard), content)
        if not tf.io.gfile.exists(self.path(shard)):
            _write_whole(self.path(shard), self._encode(rows))
        return done

    def remove_partial(self, shards: collections.abc.Iterable[int]) -> None:
        """Removes what killed processes left half written of these shards, which nobody else may be making."""
        ends = tuple(os.path.basename(self.path(shard)) for shard in shards)
        for name in tf.io.gfile.listdir(self.folder):
            if name.startswith(".partial-") and name.endswith(ends):
                with contextlib.suppress(tf.errors.NotFoundError):
                    tf.io.gfile.remove(f"{self.folder}/{name}")


def read_manifest(folder: str | os.PathLike) -> dict[str, typing.Any]:
    """The manifest's content; empty where there is none.

    Raises:
        ValueError: it cannot be read.
    """
    path = f"{os.fspath(folder).rstrip('/')}/{MANIFEST}"
    if not tf.io.gfile.exists(path):
        return {}
    try:
        with tf.io.gfile.GFile(path) as file:
            return dict(json.loads(file.read()))
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; choose another --output") from error


def _write_whole(path, content):
    if "://" not in path:
        files.write(path, content, synced=True)
        return
    folder, name = path.rsplit("/", 1)
    partial = f"{folder}/.partial-{uuid.uuid4().hex[:12]}-{name}"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(partial, path, overwrite=True)


def to_line(row: dict[str, typing.Any]) -> bytes:
    """A row as a line of JSON, without its end."""
    return json.dumps(row, ensure_ascii=False).encode()


def _jsonl(rows):
    return b"".join(to_line(row) + b"\n" for row in rows)


def parquet_schema() -> "pyarrow.Schema":
    """The rows' schema for pyarrow; a detection has the keys of its JSON.

    Raises:
        ImportError: pyarrow is not installed.
    """
    pa, _ = _pyarrow()
    of_detection = []
    for field in detections.FIELDS:
        plain = pa.string() if field.kind.dtype == tf.string else pa.from_numpy_dtype(field.kind.dtype.as_numpy_dtype)
        for _ in field.kind.shape:
            plain = pa.list_(plain)
        of_detection.append((field.json, plain))
    return pa.schema({
        "image": pa.string(),
        "record": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "error": pa.string(),
        "detections": pa.list_(pa.struct(of_detection)),
    })  # fmt: skip


def _parquet(rows):
    pa, pq = _pyarrow()
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, parquet_schema()), buffer)
    return buffer.getvalue()


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f'Parquet needs pyarrow ({error}): pip install "gfl_tf[parquet]"') from error
    return pyarrow, pyarrow.parquet
