"""Small detectors to load weights of `shapes` into."""

from gfl_tf.detectors.gfl import GFLV2
from gfl_tf.heads.atss import ATSSHead
from gfl_tf.heads.gfl import GFLHead, GFLV2Head
from gfl_tf.heads.vfnet import VFNetHead
from gfl_tf.necks.fpn import FPN
from tests.checkpoints.shapes import CHANNELS, CLASSES


def head_of(name):
    small = dict(channels=CHANNELS, num_convs=2, groups=4)
    if name.startswith("vfnet"):
        return VFNetHead(CLASSES, name="head", deformable=True, **small)
    if name == "atss":
        return ATSSHead(CLASSES, name="head", **small)
    base = GFLHead(CLASSES, name="head" if name == "gfl" else "base", **small)
    return base if name == "gfl" else GFLV2Head(base, name="head")


def small_gflv2(backbone):
    return GFLV2(backbone, CLASSES, "xyxy", head=head_of("gflv2"), neck=FPN(CHANNELS, name="neck"))


def all_weights(model):
    """Without the detector's metrics."""
    return [*model.backbone.weights, *model.neck.weights, *model.head.weights]


def all_values(model):
    return [variable.numpy() for variable in all_weights(model)]
