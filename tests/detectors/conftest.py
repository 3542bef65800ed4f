"""Small detectors for the tests of this folder."""

import keras_cv
import pytest

import gfl_tf
from gfl_tf.heads.atss import ATSSHead
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.layers.dgqp import DGQP
from gfl_tf.necks.fpn import FPN


def tiny_backbone():
    """KerasCV's ResNet with one basic block per stage: 64 channels in the first, which it fixes, then 16."""
    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 16, 16, 16],
        stackwise_blocks=[1, 1, 1, 1],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=True,
        block_type="basic_block",
    )


def build_tiny(
    cls, num_classes=3, bounding_box_format="xyxy", backbone=None, head_options=None, dgqp=None, head=None, **options
):
    """A detector `cls` that is as small as it gets: everything 8 or 16 channels wide, one convolution per tower."""
    heads = {gfl_tf.ATSS: ATSSHead, gfl_tf.GFL: GFLHead, gfl_tf.GFLV2: GFLHead, gfl_tf.VFNet: VFNetHead}
    head = head or heads[cls](num_classes, **{"channels": 16, "num_convs": 1, "groups": 4, **(head_options or {})})
    if cls is gfl_tf.GFLV2 and head.composed is None:
        head = GFLV2Head(head, dgqp or DGQP(hidden=8))
    return cls(
        backbone or tiny_backbone(),
        num_classes=num_classes,
        bounding_box_format=bounding_box_format,
        head=head,
        neck=FPN(channels=16, extra_relu=cls is gfl_tf.VFNet),
        **options,
    )


@pytest.fixture(scope="session")
def build():
    return build_tiny
