"""The machine's own limit: what it makes of a convolution, a matrix product and a copy, and nothing around them.

Machines that several share differ by a factor of two from hour to hour, and slow down when they get warm. So the limit
is a part of the rounds that it is compared with: see `bench.Bench.take_turns`.
"""

import functools
import typing

import tensorflow as tf

from gfl_tf.benchmark.rounds import Measured, Parts, Rounds

CONVOLUTION, PRODUCT, COPY = "3x3 convolution", "matrix product", "copy"
# Of P3 of an image of 800 x 1344, between the convolutions of a tower.
ROWS, COLUMNS, CHANNELS = 100, 168, 256
SIDE = 2048  # of the matrices
COPIED_BYTES = 1 << 26  # more than the caches hold
DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}


class Limit(typing.NamedTuple):
    """A part that does nothing but one kind of work.

    Attributes:
        amount: FLOPs, two a multiply-add; of the copy bytes, read and written.
        unit: of a thousand millions of them a second.
    """

    amount: int
    unit: str


def batch() -> int:
    """Maps, pairs of matrices and so on that are worked on at a time: a GPU is not filled by one."""
    return 16 if tf.config.list_physical_devices("GPU") else 1


def limits() -> dict[str, Limit]:
    """{name: `Limit`} of what is measured."""
    return {
        CONVOLUTION: Limit(batch() * 2 * 9 * CHANNELS**2 * ROWS * COLUMNS, "GFLOP/s"),
        PRODUCT: Limit(batch() * 2 * SIDE**3, "GFLOP/s"),
        COPY: Limit(batch() * 2 * COPIED_BYTES, "GB/s"),
    }


@functools.cache
def parts(precision: str) -> Parts:
    """{name: function} of `limits`, in one of `DTYPES`."""
    dtype = DTYPES[precision]
    features = _random([batch(), ROWS, COLUMNS, CHANNELS], dtype)
    kernel = _random([3, 3, CHANNELS, CHANNELS], dtype)
    one, other = _random([batch(), SIDE, SIDE], dtype), _random([batch(), SIDE, SIDE], dtype)
    copied = _random([batch() * COPIED_BYTES // dtype.size], dtype)
    zero = tf.Variable(0, dtype=dtype)  # no constant, or the sum would be taken out of the graph

    def of(function):
        return tf.function(function, autograph=False)

    return {
        CONVOLUTION: of(lambda: tf.nn.conv2d(features, kernel, 1, "SAME")),
        PRODUCT: of(lambda: tf.matmul(one, other)),
        COPY: of(lambda: copied + zero),
    }


def _random(shape, dtype):
    return tf.cast(tf.random.stateless_normal(shape, (0, 0), stddev=0.05), dtype)


def rates(rounds: Rounds) -> dict[str, Measured]:
    """Of rounds that the limit's parts took part in: {name: FLOPs or bytes a second}."""
    return {name: rounds.rate(name, limit.amount) for name, limit in limits().items()}


def share(rounds: Rounds, part: str, flops: float) -> Measured:
    """The rate of a part that does `flops`, over that of the convolution in the same round: 1 is the limit."""
    # (flops / part) / (limit / convolution)
    return rounds.ratio(CONVOLUTION, part, limits()[CONVOLUTION].amount / flops)
