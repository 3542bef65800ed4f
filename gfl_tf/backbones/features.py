"""P3 to P5 features of any KerasCV backbone."""

import keras

from gfl_tf import compat

LEVELS = ("P3", "P4", "P5")


def pyramid_features(backbone):
    """A model from images to {"P3", "P4", "P5"}, sharing the backbone's layers and weights.

    The backbone's layers past P5, which no gradient reaches, become non-trainable.

    Args:
        backbone: a `keras_cv.models.Backbone`, or any functional Keras model with a `pyramid_level_inputs` dict from
            "P3", "P4", "P5" to layer names.

    Raises:
        ValueError: a level is missing.
    """
    layer_names = backbone.pyramid_level_inputs
    missing = [level for level in LEVELS if level not in layer_names]
    if missing:
        raise ValueError(f"backbone {backbone.name} has no {', '.join(missing)} in its levels {sorted(layer_names)}")
    outputs = {level: backbone.get_layer(layer_names[level]).output for level in LEVELS}
    compat.use_batch_norm(backbone)
    features = keras.Model(backbone.inputs, outputs, name="pyramid_features")
    used = {id(layer) for layer in features.layers}
    for layer in backbone.layers:
        if id(layer) not in used:
            layer.trainable = False
    return features


def freeze_batch_norm(model):
    """Makes every BatchNormalization of `model` run on its moving statistics, its weights fixed, in training too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            freeze_batch_norm(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
