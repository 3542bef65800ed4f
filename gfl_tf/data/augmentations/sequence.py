"""A list of operations in its order, each with random numbers of its own."""

import collections
import collections.abc
import dataclasses
import functools
import typing
import zlib

import tensorflow as tf

from gfl_tf.data.augmentations.operation import OPERATIONS, Frame, Operation, Sample, Stage
from gfl_tf.data.augmentations.resizing import Resize

PLACES = {Stage.FILE: "before the resize", Stage.RESIZE: "as the resize", Stage.CANVAS: "after the resize"}


def from_config(
    entries: collections.abc.Sequence[collections.abc.Mapping[str, typing.Any]], field: str = "augmentations"
) -> tuple[Operation, ...]:
    """The operations of a config.

    Args:
        entries: sequence of dicts: the `name` of each operation, and those of its fields that do not have their
            default, such as dict(name="flip", probability=0.5).
        field: where the entries stand, for errors.

    Returns:
        tuple of `Operation`.

    Raises:
        ValueError: no such operation, no such field, a value that it cannot have, an order that cannot be; says which.
    """
    if not isinstance(entries, (tuple, list)):
        raise ValueError(f"{field} is {entries!r}; a list of operations is needed, () for none")
    operations = []
    for place, entry in enumerate(entries):
        try:
            operations.append(_from_entry(entry))
        except ValueError as error:
            raise ValueError(f"{field}[{place}]: {error}") from None
    with_resize(operations, field)
    return tuple(operations)


def _from_entry(entry):
    if not isinstance(entry, collections.abc.Mapping) or "name" not in entry:
        raise ValueError(
            f"{entry!r} is no dict with the name of an operation; a list of one: ({{'name': 'flip', 'probability': "
            "0.5},)"
        )
    arguments = dict(entry)
    name = arguments.pop("name")
    if not isinstance(name, str) or name not in OPERATIONS:
        raise ValueError(f"there is no operation {name!r}; choose one of {', '.join(sorted(OPERATIONS))}")
    fields = [field.name for field in dataclasses.fields(OPERATIONS[name])]
    unknown = sorted(set(arguments) - set(fields))
    if unknown:
        raise ValueError(f"{name} has no field {', '.join(unknown)}; it has {', '.join(fields) or 'none'}")
    return OPERATIONS[name](**arguments)


def with_resize(operations: collections.abc.Sequence[Operation], field: str = "augmentations") -> tuple[Operation, ...]:
    """The operations with a resize among them: their own, or a `Resize` between those before and those after it.

    Raises:
        ValueError: something that is no operation, more than one resize, or an operation on the wrong side of it.
    """
    for place, operation in enumerate(operations):
        if not isinstance(operation, Operation):
            raise ValueError(
                f"{field}[{place}] is {operation!r}; an operation is needed, such as Flip(probability=0.5). "
                "gfl_tf.data.augmentations.from_config makes them of dicts"
            )
    for place, (former, operation) in enumerate(zip(operations, operations[1:]), start=1):
        if former.stage == operation.stage == Stage.RESIZE:
            raise ValueError(f"{field}[{place}]: {operation.name} is a resize, as {former.name} before it; keep one")
        if former.stage > operation.stage:
            raise ValueError(
                f"{field}[{place}]: {operation.name} works {PLACES[operation.stage]}, and {former.name} before it "
                f"works {PLACES[former.stage]}; list {operation.name} first"
            )
    if any(operation.stage == Stage.RESIZE for operation in operations):
        return tuple(operations)
    before = [operation for operation in operations if operation.stage == Stage.FILE]
    return (*before, Resize(), *operations[len(before) :])


class Augmentations:
    """The operations as one function of an image.

    Args:
        operations: sequence of `Operation`, see `with_resize`.
        pad_value: RGB, three floats.
        read: a function of an index, int64 scalar, that returns an image of the data set as `Sample`, for operations
            that mix images. None: the image that is augmented is the whole data set.
        num_images: how many images `read` has.
        mixing_until: from the image of this number in the training on, these operations are made with probability 0.
            None: never.
    """

    def __init__(
        self,
        operations: collections.abc.Iterable[Operation],
        pad_value: tuple[float, ...] = (0.0, 0.0, 0.0),
        read: collections.abc.Callable[[tf.Tensor], Sample] | None = None,
        num_images: int = 1,
        mixing_until: int | None = None,
    ):
        self._operations = with_resize(list(operations))
        self._pad_value = pad_value
        self._read = read
        self._num_images = num_images
        self._mixing_until = mixing_until
        # What an operation draws hangs on its name and on how many of that name stand before it, not on the others.
        counts, self._keys = collections.Counter(), []
        for operation in self._operations:
            self._keys.append(zlib.crc32(f"{operation.name} {counts[operation.name]}".encode()))
            counts[operation.name] += 1

    def __call__(
        self,
        image: tf.Tensor,
        boxes: tf.Tensor,
        classes: tf.Tensor,
        scale: tf.Tensor,
        canvas: tf.Tensor,
        seed: tf.Tensor,
    ) -> Sample:
        """Augments one image and resizes it; a function of its arguments.

        Args:
            image: uint8 [h, w, 3] as decoded.
            boxes, classes: float32 [n, 4] in pixels of `image`, and [n].
            scale: int32 [2], the limits of the keep-ratio resize.
            canvas: int32 [2], height and width that the result must fit in.
            seed: int64 [2], that of the training, and the image's number in it.

        Returns:
            `Sample`: image float32 [h', w', 3], boxes [m, 4], classes [m].
        """
        whole = sample = Sample(image, boxes, classes)
        read = self._read or (lambda index: whole)
        for operation, key in zip(self._operations, self._keys):
            own_seed = _fold_in(seed, key)
            draws = tf.random.stateless_uniform([operation.num_draws], own_seed)
            others = self._others(operation, own_seed, read)
            sample = self._made(operation, sample, draws, Frame(scale, canvas, self._pad_value, others), seed[1])
        return sample

    def _others(self, operation, seed, read):
        if not operation.num_others:
            return ()
        # A seed of their own: the same numbers as the draws would tie the images to what is done with them.
        indices = tf.random.stateless_uniform(
            [operation.num_others], _fold_in(seed, 0), maxval=self._num_images, dtype=tf.int64
        )
        return tuple(functools.partial(read, index) for index in tf.unstack(indices))

    def _made(self, operation, sample, draws, frame, number):
        if not operation.num_others or self._mixing_until is None:
            return operation(sample, draws, frame)
        unmixed = dataclasses.replace(operation, probability=0.0)
        return tf.cond(
            number < self._mixing_until,
            lambda: operation(sample, draws, frame),
            lambda: unmixed(sample, draws, frame),
        )


def _fold_in(seed, number):
    return tf.random.experimental.stateless_fold_in(seed, tf.constant(number, tf.int64))
