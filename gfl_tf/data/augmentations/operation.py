"""What an augmentation is: a named operation on one image and its boxes, with fields and random numbers of its own."""

import collections.abc
import enum
import math
import numbers
import typing

import tensorflow as tf

# Name in a config -> class; whoever derives from `Operation` is in it.
OPERATIONS = {}

# A box cut down to less than this, in pixels of the result, is no longer learnt.
MIN_SIDE = 1.0


class Sample(typing.NamedTuple):
    """An image with its ground truth.

    Attributes:
        image: [h, w, 3] in 0..255.
        boxes: float32 [n, 4], xyxy in pixels of the image.
        classes: float32 [n].
    """

    image: tf.Tensor
    boxes: tf.Tensor
    classes: tf.Tensor


class Frame(typing.NamedTuple):
    """What the batch asks of its images.

    Attributes:
        scale: int32 [2], the limits of the keep-ratio resize.
        canvas: int32 [2], height and width that the resized image must fit in.
        pad_value: RGB, three floats: the colour of all that is no picture.
        others: as many functions without arguments as the operation has `num_others`. Each reads an image of the data
            set, drawn uniformly for this operation: a `Sample` as the file has it, uint8, with boxes in its pixels.
    """

    scale: tf.Tensor
    canvas: tf.Tensor
    pad_value: tuple
    others: tuple = ()


class Stage(enum.IntEnum):
    """Where in the list an operation can stand; the list ascends."""

    FILE = 0  # before the resize: the image is uint8 and has the file's size; the result may have any size
    RESIZE = 1  # is the resize, from here on float32; a list has one
    CANVAS = 2  # after the resize; height and width stay as they are


class Operation:
    """One augmentation. To add one, derive from this in a new file of this folder; nothing else has to know of it:

        @dataclasses.dataclass(frozen=True)
        class Darken(Operation, name="darken", num_draws=1):
            darkest: float = 0.5

            def __post_init__(self):
                check_shares(self, "darkest")

            def __call__(self, sample, draws, frame):
                return sample._replace(image=sample.image * (1.0 - draws[0] * (1.0 - self.darkest)))

    Class arguments:
        name: what it is called in a config; its fields have to be plain values.
        num_draws: how many random numbers it takes for an image.
        stage: a `Stage`.
        num_others: how many further images it mixes in. It gets them as `Frame.others`, and should call these inside of
            the `tf.cond` that decides whether it happens: reading an image takes time. It has a field `probability`,
            and is made with 0 in it once the training mixes no longer.
    """

    name: typing.ClassVar[str]
    num_draws: typing.ClassVar[int]
    stage: typing.ClassVar[Stage]
    num_others: typing.ClassVar[int]

    def __init_subclass__(
        cls, *, name: str, num_draws: int = 0, stage: Stage = Stage.CANVAS, num_others: int = 0
    ) -> None:
        super().__init_subclass__()
        known = OPERATIONS.get(name)
        # A cell of a notebook may define its class again.
        if known and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"an operation is named {name!r} already: {known.__module__}.{known.__qualname__}")
        if num_others and not hasattr(cls, "probability"):
            raise ValueError(f"{name} mixes in other images; it needs a field probability with a default")
        cls.name, cls.num_draws, cls.stage, cls.num_others = name, num_draws, stage, num_others
        OPERATIONS[name] = cls

    def __call__(self, sample: Sample, draws: tf.Tensor, frame: Frame) -> Sample:
        """A function of its arguments, in TensorFlow operations.

        Args:
            sample: `Sample`.
            draws: float32 [num_draws], uniform from 0 to below 1, not shared with any other operation.
            frame: `Frame`.

        Returns:
            `Sample`.
        """
        raise NotImplementedError


def sometimes(
    probability: float, draw: tf.Tensor, change: collections.abc.Callable[[Sample], Sample], sample: Sample
) -> Sample:
    """`change(sample)` where `draw`, uniform from 0 to 1, is below the probability; otherwise `sample`."""
    if probability == 0:
        return sample
    return tf.cond(draw < probability, lambda: change(sample), lambda: sample)


def between(limits: collections.abc.Sequence[float], draw: tf.Tensor) -> tf.Tensor:
    """The number that lies at `draw`, 0 to 1, between (low, high)."""
    low, high = limits
    return low + (high - low) * draw


def check(operation: Operation, field: str, holds: bool, needed: str) -> None:
    """Raises ValueError, naming operation, field and value, unless it holds."""
    if not holds:
        raise ValueError(f"{operation.name}: {field} is {getattr(operation, field)!r}; {needed} is needed")


def check_shares(operation: Operation, *fields: str) -> None:
    """Each of these fields has to be a number from 0 to 1."""
    for field in fields:
        value = getattr(operation, field)
        check(operation, field, is_number(value) and 0 <= value <= 1, "a number from 0 to 1")


def check_range(operation: Operation, field: str, above: float | None = None) -> None:
    """The field has to be (low, high) with low <= high; `low` at least 0, or more than `above`."""
    value = getattr(operation, field)
    holds = isinstance(value, (tuple, list)) and len(value) == 2 and all(map(is_number, value))
    holds = holds and value[0] <= value[1] and (value[0] >= 0 if above is None else value[0] > above)
    needed = "0 <= low <= high" if above is None else f"{above} < low <= high"
    check(operation, field, holds, f"(low, high) with {needed}")


def is_number(value: typing.Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
