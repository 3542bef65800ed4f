"""Pictures that are there twice, within a split or in two: a leak.

The difference hash: a picture is shrunk to 9 x 8 grey values, and each of 64 bits says whether a value is above its
left neighbour. It hardly changes when a picture is resized or compressed again.
"""

import collections.abc
import concurrent.futures
import hashlib
import io
import pathlib
import typing
import warnings

import numpy as np
from PIL import Image

from gfl_tf.data import images as image_files
from gfl_tf.data.image_checks import THREADS
from gfl_tf.dataset_check.findings import Example, Finding, finding
from gfl_tf.dataset_check.loading import Progress, Split

ROWS, COLUMNS = 8, 9
MAX_DISTANCE = 4  # of 64 bits that may differ in pictures that are nearly the same
LEAST_CONTRAST = 8.0  # grey levels between the darkest and the brightest value; below it the bits are noise
CHUNK = 256


class Fingerprint(typing.NamedTuple):
    """Of an image file.

    Attributes:
        contents: a hash of its bytes.
        bits: bool [64], the hash of its picture; None where that has no contrast or cannot be decoded.
        is_damaged: whether Pillow cannot decode it.
    """

    contents: bytes
    bits: np.ndarray | None
    is_damaged: bool = False


def fingerprint(path: str) -> Fingerprint:
    """The `Fingerprint` of an image file."""
    data = pathlib.Path(path).read_bytes()
    contents = hashlib.blake2b(data, digest_size=16).digest()
    try:
        with Image.open(io.BytesIO(data)) as image:
            return Fingerprint(contents, difference_hash(image))
    except Exception:  # of damaged bytes Pillow raises nearly anything
        return Fingerprint(contents, None, is_damaged=True)


def difference_hash(image: Image.Image) -> np.ndarray | None:
    """bool [64], or None of a picture without contrast."""
    image.draft("L", (8 * COLUMNS, 8 * ROWS))  # a JPEG is decoded at a fraction of its size
    is_deep = image.mode.startswith("I")  # 16 bits, which "L" would clip
    grey = (image if is_deep else image.convert("L")).convert("F")  # not rounded when shrunk
    # Not BOX: it counts whole pixels, which makes the values depend on the picture's size.
    small = np.asarray(grey.resize((COLUMNS, ROWS), Image.Resampling.BILINEAR)) / (256 if is_deep else 1)
    if np.ptp(small) < LEAST_CONTRAST:
        return None
    return (small[:, 1:] > small[:, :-1]).ravel()


def nearest(bits: np.ndarray, others: np.ndarray, only_before: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest of `others`, Hamming distance to it), int [n] each; the distance is 65 where there is none.

    Args:
        bits: bool [n, 64].
        others: bool [m, 64].
        only_before: whether the i-th is compared with the first i of `others` alone.
    """
    signs, other_signs = np.where(bits, 1, -1).astype(np.float32), np.where(others, 1, -1).astype(np.float32)
    index, distance = np.zeros(len(bits), int), np.full(len(bits), 65)
    for start in range(0, len(bits), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(bits)))
        columns = rows[-1] if only_before else len(others)
        if columns == 0:
            continue
        far = (64 - signs[rows] @ other_signs[:columns].T) / 2  # exact: sums of ones
        if only_before:
            far[np.arange(columns) >= rows[:, None]] = 65
        index[rows] = far.argmin(axis=1)
        distance[rows] = far.min(axis=1)
    return index, distance


def check(splits: collections.abc.Sequence[Split], progress: Progress | None = None) -> list[Finding]:
    """Findings of pictures in both splits, of those that repeat an earlier one of their split, and of damaged ones."""
    paths = {split.name: list(dict.fromkeys(record.path for record in split.dataset.images)) for split in splits}
    total, prints = sum(map(len, paths.values())), {}
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of large images
        for name, own in paths.items():
            prints[name] = []
            for each in pool.map(fingerprint, own):
                prints[name].append(each)
                if progress:
                    progress(sum(map(len, prints.values())), total, "pictures compared")
    findings = []
    if "train" in paths and "val" in paths:
        found = _repeats(paths["val"], prints["val"], paths["train"], prints["train"])
        findings += finding("leak", "val", found)
    for name, own in paths.items():
        findings += finding("damaged_image", name, _damaged(own, prints[name]))
        findings += finding("repeated_picture", name, _repeats(own, prints[name], own, prints[name], only_before=True))
    return findings


def _damaged(paths, prints):
    """An `Example` of each file that a training cannot decode either."""
    for path, each in zip(paths, prints):
        if each.is_damaged:
            try:
                image_files.read_file(path)
            except ValueError as error:
                yield Example(str(error))


def _repeats(paths, prints, other_paths, other_prints, only_before=False):
    """An `Example` of each path of which the others have the file or the picture, the most alike first."""
    first_of, found = {}, []
    for index, each in enumerate(other_prints):
        first_of.setdefault(each.contents, index)
    same = [first_of.get(each.contents) for each in prints]
    same = [None if only_before and other == index else other for index, other in enumerate(same)]
    found = [(-1, path, other_paths[other], "the same file") for path, other in zip(paths, same) if other is not None]
    mine = [index for index, each in enumerate(prints) if each.bits is not None]
    theirs = [index for index, each in enumerate(other_prints) if each.bits is not None]
    if mine and theirs:
        nearest_other, distance = nearest(
            np.array([prints[index].bits for index in mine]),
            np.array([other_prints[index].bits for index in theirs]),
            only_before,
        )
        for index, other, bits in zip(mine, nearest_other, distance):
            if bits <= MAX_DISTANCE and same[index] is None:
                found.append((bits, paths[index], other_paths[theirs[other]], f"{bits} of 64 bits differ"))
    found.sort(key=lambda item: item[0])
    return [Example(f"{path} and {other}: {how}", path, other=other) for _, path, other, how in found]
