"""Two images over each other (Zhang et al. 2017, arXiv:1710.09412; for detection 2019, arXiv:1902.04103)."""

import dataclasses

import tensorflow as tf

from gfl_tf.data.augmentations.operation import Operation, Sample, between, check, check_range, check_shares, sometimes
from gfl_tf.data.augmentations.resizing import zoomed


@dataclasses.dataclass(frozen=True)
class Mixup(Operation, name="mixup", num_draws=4, num_others=1):
    """Blends the image with another one; the boxes of both are learnt with full weight.

    The other image is resized as it would be alone, or smaller where it would not fit into the image, and lies at a
    random place of it, with the colour of the padding around it. `share` is that of the image itself in the blend.
    """

    probability: float = 0.5
    share: tuple = (0.4, 0.6)

    def __post_init__(self):
        check_shares(self, "probability")
        check_range(self, "share")
        check(self, "share", self.share[1] <= 1, "high of at most 1")

    def __call__(self, sample, draws, frame):
        def change(sample):
            hw = tf.shape(sample.image)[:2]
            # The image is the canvas that the other has to fit.
            other = zoomed(frame.others[0](), 1.0, draws[2:], frame._replace(canvas=hw), hw)
            share = between(self.share, draws[1])
            return Sample(
                share * sample.image + (1.0 - share) * other.image,
                tf.concat([sample.boxes, other.boxes], axis=0),
                tf.concat([sample.classes, other.classes], axis=0),
            )

        return sometimes(self.probability, draws[0], change, sample)
