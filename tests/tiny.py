"""Small detectors for the tests."""

import functools

import keras
import keras_cv

import gfl_tf
from gfl_tf.build import PARTS, part_config
from gfl_tf.checkpoints import weight_file
from gfl_tf.detectors.recipes import Recipe


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
    recipe: Recipe,
    num_classes=3,
    bounding_box_format="xyxy",
    backbone=None,
    head_options=None,
    neck_options=None,
    **options,
):
    """A detector of a recipe that is as small as it gets: 16 channels wide, one convolution per tower."""
    neck, head = recipe.neck, recipe.head
    neck_options = {"channels": 16, **(neck_options or {})}
    head_options = {"channels": 16, "num_convs": 1, "groups": 4, **(head_options or {})}
    if recipe is gfl_tf.GFLV2:
        options = {"hidden": 8, **options}
    return recipe(
        backbone or tiny_backbone(),
        num_classes=num_classes,
        bounding_box_format=bounding_box_format,
        **{
            "neck": functools.partial(neck.func, **{**neck.keywords, **neck_options}),
            "head": functools.partial(head.func, **{**head.keywords, **head_options}),
            **options,
        },
    )


def values(model):
    """{name: array} of a detector's weights."""
    return {name: variable.numpy() for name, variable in weight_file.named_variables(model).items()}


def with_defaults(model):
    """`config.model` as a dict whose parts have all their fields, so that two can be compared."""
    return {field: _whole(field, value) if field in PARTS else value for field, value in model.to_dict().items()}


def _whole(field, config):
    given = dict(config)
    cls = PARTS[field][given.pop("name")] if isinstance(PARTS[field], dict) else PARTS[field]
    # Of necks and heads the configs that come along have all fields.
    return config if issubclass(cls, keras.layers.Layer) else part_config(field, cls(**given))
