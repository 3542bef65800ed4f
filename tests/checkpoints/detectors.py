"""Small detectors to load weights of `shapes` into."""

import functools

from gfl_tf.detectors import recipes
from gfl_tf.necks.pafpnx import PAFPNX
from tests.checkpoints.shapes import CHANNELS, CLASSES


def small(recipe, **changes):
    """A recipe whose neck and head are as small as the shapes that are expected here."""
    of_head = {"channels": CHANNELS, "num_convs": 2, "groups": 4, **changes.pop("of_head", {})}
    if recipe is recipes.VFNet:
        of_head = {"deformable": True, **of_head}
    neck, head = recipe.neck, recipe.head
    neck = changes.pop("neck", functools.partial(neck.func, **{**neck.keywords, "channels": CHANNELS}))
    return recipe.changed(neck=neck, head=functools.partial(head.func, **{**head.keywords, **of_head}), **changes)


PAFPNX_NECK = functools.partial(PAFPNX, channels=CHANNELS, groups=4)
SMALL = {
    "gfl": small(recipes.GFL),
    "gflv2": small(recipes.GFLV2),
    "atss": small(recipes.ATSS),
    "vfnet": small(recipes.VFNet),
    "vfnetx": small(recipes.VFNet, neck=PAFPNX_NECK),
    "fcos": small(recipes.FCOS, of_head={"conv_bias": True}),
    "retinanet": small(recipes.RetinaNet, of_head={"groups": 0}),
}


def small_gflv2(backbone):
    return SMALL["gflv2"](backbone, CLASSES, "xyxy")


def all_weights(model):
    """Without the detector's metrics."""
    return [*model.backbone.weights, *model.neck.weights, *model.head.weights]


def all_values(model):
    return [variable.numpy() for variable in all_weights(model)]
