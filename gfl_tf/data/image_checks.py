"""All image files of a data set, checked before anything is trained on them."""

import collections.abc
import concurrent.futures
import os
import typing
import warnings

import numpy as np
from absl import logging

from gfl_tf.data import headers
from gfl_tf.data import images as image_files
from gfl_tf.texts import first_ones

THREADS = 8  # reading waits for the disk, the rest for Python's lock
SKIP_FLAG = "--config.data.on_bad_image=skip"
MOST_SAMPLED = 16  # images of more than 8 bits that are decoded
# Of 256; an image that stays below it in the upper 8 of its 16 bits is all but black.
LEAST_LEVEL = 64


class Check(typing.NamedTuple):
    """What was found of an image file.

    Attributes:
        problem: why it cannot be used, a sentence that names the file; "" where it can.
        orientation: of EXIF, to be applied where the file is read: see `images.orient`.
        is_doubtful: whether its EXIF orientation is left out though the image's size cannot tell that this is right.
        bits: of a channel.
    """

    problem: str = ""
    orientation: int = 1
    is_doubtful: bool = False
    bits: int = 8


def check_files(
    paths: collections.abc.Sequence[str],
    sizes: collections.abc.Sequence[tuple[int, int]],
    progress: collections.abc.Callable[[int, int], None] | None = None,
) -> list[Check]:
    """A `Check` of each file, from its header and its end; where these do not tell whether it is whole, it is decoded.

    An image is used as it is stored where that is its annotations' size, and as EXIF turns it where that is.

    Args:
        paths: of the files.
        sizes: (height, width) of each as its annotations have it.
        progress: called after every file with (files done, files in all).
    """
    checks = []
    with warnings.catch_warnings(), concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of EXIF that it cannot read and of large images
        for check in pool.map(_check, paths, sizes):
            checks.append(check)
            if progress:
                progress(len(checks), len(paths))
    return checks


def _check(path, size):
    try:
        header = headers.read_header(path)
        if not header.looks_whole:
            image_files.read_file(path)
    except ValueError as error:
        return Check(str(error))
    stored, orientation = (header.height, header.width), header.orientation
    if stored == size:
        size_tells = orientation == 1 or (orientation >= 5 and size[0] != size[1])
        return Check(is_doubtful=not size_tells, bits=header.bits)
    if orientation >= 5 and stored == size[::-1]:
        return Check(orientation=orientation, bits=header.bits)
    return Check(
        f"{path} is {header.width} x {header.height} pixels (width x height), but its annotations say "
        f"{size[1]} x {size[0]}"
    )


def refusal(problems: collections.abc.Sequence[str], num_images: int, source: str) -> str:
    """The text of an error that names the first of the bad files of `source`, a line each, and what to do."""
    return "\n".join([
        f"{len(problems)} of {num_images} images of {source} cannot be used:",
        *(f"  {line}" for line in first_ones(problems)),
        "Mend them, or check the images folder; gfl-train leaves them out with "
        f"{SKIP_FLAG}, gfl-evaluate and gfl-make-tfrecords with --on_bad_image=skip.",
    ])  # fmt: skip


def check_depth(paths: collections.abc.Sequence[str], source: str) -> None:
    """Decodes some of the images of more than 8 bits.

    Raises:
        ValueError: none of them has a value in the upper range, as those of cameras with 8, 12 or 14 bits: the upper 8
            bits, which alone are read, are all but black.
    """
    if not paths:
        return
    sample = np.linspace(0, len(paths) - 1, min(len(paths), MOST_SAMPLED)).astype(int)
    largest = max(image_files.read_file(paths[index]).max() for index in sample)
    if largest < LEAST_LEVEL:
        raise ValueError(
            f"{len(paths)} images of {source} have 16 bits, such as {paths[0]}, but no value of {len(sample)} of them "
            f"reaches {LEAST_LEVEL * 256}. Only the upper 8 bits are read, so that they are all but black. Write them "
            "with 8 bits, or with values that fill the 16, and do so with the images to detect in"
        )


def doubts(path: str | os.PathLike, image: np.ndarray) -> list[str]:
    """What may be wrong with `image`, uint8 [h, w, 3] as `images.read_file` read it, where no annotations tell."""
    header = headers.read_header(path)
    found = []
    if header.orientation != 1:
        found.append("their EXIF orientation is ignored; save them upright if they lie on their side")
    if header.bits > 8 and image.max() < LEAST_LEVEL:
        found.append("they have 16 bits, of which the upper 8 are read, and these are all but black")
    return found


def warn_of_orientations(checks: collections.abc.Sequence[Check], paths: collections.abc.Sequence[str]) -> None:
    """Says how many images are turned on reading, and warns of those whose EXIF orientation may be left out wrongly."""
    turned = sum(check.orientation != 1 for check in checks)
    if turned:
        logging.info("%d images are turned as EXIF says: their annotations have the size that they have then.", turned)
    doubtful = [path for path, check in zip(paths, checks) if check.is_doubtful]
    if doubtful:
        logging.warning(
            "%d images, such as %s, have an EXIF orientation that keeps their size: it does not tell whether the boxes "
            "belong to the stored or the turned pixels. The stored ones are read.",
            len(doubtful),
            doubtful[0],
        )
