"""Which images form a batch, at which scale, on which canvas: numpy only, nothing is decoded.

A batch has one canvas (height, width), a multiple of 32. Images of like aspect ratio share a
bucket, and a bucket's canvas is the smallest that holds each of its images after the keep-ratio
resize. So a data set and a scale have few canvases, and a training step few input shapes.
"""

import collections.abc
import itertools
import typing

import numpy as np

STRIDE = 32
# Bounds in width / height: tall, upright, level (to 4:3, with room for rounding), wide.
ASPECT_BOUNDS = (0.72, 1.0, 1.4)

LAST_BATCH = ("fill", "drop")


class Batch(typing.NamedTuple):
    indices: np.ndarray  # int64 [B], positions in the data set; -1: no image
    scale: np.ndarray  # int32 [2], the limits of the keep-ratio resize, (long, short)
    canvas: np.ndarray  # int32 [2], (height, width)


def keep_ratio_sizes(sizes: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """`images.keep_ratio_size` for many sizes [N, 2] (height, width) -> int64 [N, 2]."""
    sizes = np.asarray(sizes, np.float64)
    factor = np.minimum(max(scale) / sizes.max(axis=1), min(scale) / sizes.min(axis=1))
    return np.maximum((sizes * factor[:, None] + 0.5).astype(np.int64), 1)


def training_scales(
    scale: tuple[int, int],
    short_side_range: tuple[int, int] | None = None,
    long_side_range: tuple[int, int] | None = None,
    num_sides: int = 6,
) -> list[tuple[int, int]]:
    """The scales of multi-scale training -> list of int (long, short), each as likely as the others.

    Args:
        scale: (long, short) limits; the order does not matter.
        short_side_range: (low, high) for the short side; None or empty: that of `scale`.
        long_side_range: (low, high) for the long side, drawn independently of the short one; None
            or empty: that of `scale`.
        num_sides: how many evenly spaced values either range has; each is moved to the next
            multiple of 32 within the range where there is one, which wastes less canvas.

    Raises:
        ValueError: a range is empty or below 0, or the short side's lies above the long side's; a range is to be one
            value.
    """
    if num_sides < 1:
        raise ValueError(f"num_sides is {num_sides}; it must be at least 1.")
    shorts = _sides("short_side_range", short_side_range, int(min(scale)), num_sides)
    longs = _sides("long_side_range", long_side_range, int(max(scale)), num_sides)
    if shorts[0] > longs[0] or shorts[-1] > longs[-1]:
        raise ValueError(
            f"The short side is drawn from {shorts[0]} to {shorts[-1]} and the long side from"
            f" {longs[0]} to {longs[-1]}: neither end of short_side_range may lie above that of"
            " long_side_range (a side without a range is the one of scale)."
        )
    # Of two independent draws either may be the larger.
    return [(max(pair), min(pair)) for pair in itertools.product(longs, shorts)]


def _sides(name, limits, default, count):
    """The ascending sides in the range (low, high), or only the default where there is none."""
    if not limits:
        return [default]
    low, high = limits
    if not 0 < low <= high:
        raise ValueError(f"{name} is {tuple(limits)}; (low, high) with 0 < low <= high is needed.")
    if count == 1 and low < high:
        raise ValueError(f"{name} is {tuple(limits)}, but num_sides is 1, which leaves {low} alone: give at least 2.")
    sides = []
    for side in np.linspace(low, high, count):
        rounded = int(round(side / STRIDE)) * STRIDE
        sides.append(rounded if low <= rounded <= high else int(side))
    return sorted(set(sides))


def steps_per_epoch(num_images: int, batch_size: int, last_batch: str = "fill") -> int:
    """Training batches in one pass over `num_images` images."""
    if last_batch not in LAST_BATCH:
        raise ValueError(f"last_batch is {last_batch!r}; choose one of {LAST_BATCH}.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    if last_batch == "fill":
        return -(-num_images // batch_size)
    if num_images < batch_size:
        raise ValueError(
            f"The data set has {num_images} images, fewer than one batch of {batch_size}, and"
            ' last_batch="drop" would drop them all. Use last_batch="fill" or a smaller batch.'
        )
    return num_images // batch_size


class _Canvases:
    """Buckets of a data set, and the canvas that a batch needs."""

    def __init__(self, sizes, scale, buckets):
        resized = keep_ratio_sizes(sizes, scale)
        self._padded = -(-resized // STRIDE) * STRIDE
        per_bucket = [self._padded[buckets == bucket].max(axis=0) for bucket in np.unique(buckets)]
        canvases = np.unique(per_bucket + [self._padded.max(axis=0)], axis=0)
        self._by_area = canvases[np.argsort(canvases.prod(axis=1), kind="stable")]

    def smallest(self, indices):
        """The smallest canvas [2] that holds these images."""
        needed = self._padded[indices].max(axis=0)
        holds = (self._by_area >= needed).all(axis=1)
        return self._by_area[holds][0].astype(np.int32)


def _buckets(sizes):
    """Bucket int [N] of each image size [N, 2]."""
    return np.digitize(sizes[:, 1] / sizes[:, 0], ASPECT_BOUNDS, right=True)


class TrainingPlan:
    """An endless, reproducible sequence of training batches.

    Every epoch is a new shuffle. Batches are formed inside the buckets; what is left over of all
    buckets forms mixed batches on a canvas that holds them, so a rare aspect ratio is neither lost
    nor repeated to fill a batch of its own.

    Args:
        sizes: int [N, 2], height and width of every image.
        batch_size: images in a batch.
        scales: list of (long, short); each batch draws one.
        last_batch: "fill": further images of the same buckets complete the epoch's last batch;
            "drop": a random remainder (fewer than batch_size) sits out this epoch.
        seed: the plan is a function of it.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        batch_size: int,
        scales: collections.abc.Sequence[tuple[int, int]],
        last_batch: str = "fill",
        seed: int = 0,
    ):
        self._sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
        self._batch_size = batch_size
        self._scales = [np.asarray(scale, np.int32) for scale in scales]
        self._seed = seed
        self._bucket_of = _buckets(self._sizes)
        self._canvases = [_Canvases(self._sizes, scale, self._bucket_of) for scale in scales]
        self.steps_per_epoch = steps_per_epoch(len(self._sizes), batch_size, last_batch)

    def epoch(self, epoch: int) -> list[Batch]:
        """The list of `Batch`es of epoch number `epoch` (from 0)."""
        rng = np.random.default_rng([self._seed, epoch])
        # Dropping before the grouping gives every image the same chance, whatever its shape.
        order = rng.permutation(len(self._sizes))[: self.steps_per_epoch * self._batch_size]
        groups, leftover = [], []
        for bucket in np.unique(self._bucket_of):
            members = order[self._bucket_of[order] == bucket]
            whole = len(members) - len(members) % self._batch_size
            groups.extend(members[:whole].reshape(-1, self._batch_size))
            leftover.append(members[whole:])
        groups.extend(self._mixed(np.concatenate(leftover), order))
        batches = []
        for position in rng.permutation(len(groups)):
            scale = rng.integers(len(self._scales))
            canvas = self._canvases[scale].smallest(groups[position])
            batches.append(Batch(groups[position], self._scales[scale], canvas))
        return batches

    def _mixed(self, pool, order):
        """Batches int [k, B] out of the buckets' remainders, completed with further images."""
        missing = -len(pool) % self._batch_size
        if missing:
            alike = np.isin(self._bucket_of[order], self._bucket_of[pool])
            spare = order[alike & ~np.isin(order, pool)]
            pool = np.concatenate([pool, np.resize(np.concatenate([spare, order]), missing)])
        # By aspect ratio, so that at most one batch mixes upright and level images.
        aspect = self._sizes[pool, 1] / self._sizes[pool, 0]
        return pool[np.argsort(aspect, kind="stable")].reshape(-1, self._batch_size)

    def batches(self, start_step: int = 0) -> collections.abc.Iterator[tuple[int, Batch]]:
        """Endless iterator of (step, Batch) from step `start_step` on; skipping costs nothing."""
        step = start_step
        while True:
            epoch, offset = divmod(step, self.steps_per_epoch)
            for batch in self.epoch(epoch)[offset:]:
                yield step, batch
                step += 1


def evaluation_plan(sizes: np.ndarray, batch_size: int, scale: tuple[int, int]) -> list[Batch]:
    """Batches that hold every image once, each with images of one padded size.

    No image is padded beyond its own next multiple of 32, as in the reference and in exported models: padding reaches
    the features of the whole image through group normalization.

    Args:
        sizes: int [N, 2], height and width of every image.
        batch_size: images in a batch; the last batch of a size is completed with index -1.
        scale: (long, short).

    Returns:
        list of `Batch`, those of the most frequent size first.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
    sizes = np.asarray(sizes, np.int64).reshape(-1, 2)
    padded = -(-keep_ratio_sizes(sizes, scale) // STRIDE) * STRIDE
    canvases, canvas_of, counts = np.unique(padded, axis=0, return_inverse=True, return_counts=True)
    limits = np.asarray([max(scale), min(scale)], np.int32)
    batches = []
    for index in np.argsort(-counts, kind="stable"):
        canvas, members = canvases[index].astype(np.int32), np.flatnonzero(canvas_of.reshape(-1) == index)
        for start in range(0, len(members), batch_size):
            part = members[start : start + batch_size]
            missing = batch_size - len(part)
            batches.append(Batch(np.pad(part, (0, missing), constant_values=-1), limits, canvas))
    return batches
