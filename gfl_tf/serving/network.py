"""A detector made ready to be served: batch normalization folded away, weights in the precision of the convolutions."""

from gfl_tf import compat
from gfl_tf.backbones.features import level_tensors
from gfl_tf.build import precision_policy
from gfl_tf.detectors.detector import Detector
from gfl_tf.layers.deformable import DeformableConv2D
from gfl_tf.layers.star import StarConv2D
from gfl_tf.serving import fold

PRECISIONS = ("float32", "bfloat16", "float16")


def serving_model(model: Detector, precision: str = "float32", unroll: bool = False) -> Detector:
    """A detector of the same class and settings that computes faster; it is to be called and traced, not trained.

    Batch normalization is folded into the convolution before it wherever that changes nothing at inference, in
    float64. Weights are stored in `precision` and the network computes in it, with rounded values as under Keras's
    mixed precision; what is float32 there stays so: input normalization, moments of group normalization, offsets of
    deformable convolutions, DGQP, raw outputs.

    Args:
        model: a detector, of any precision; it stays as it is.
        precision: one of `PRECISIONS`.
        unroll: deformable convolutions without loops, see `deformable_conv2d`.

    Raises:
        ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    config = model.get_config()
    with precision_policy(precision):
        backbone = _folded_backbone(model.backbone)
        parts = {name: _without_dtype(config[name]) for name in ("neck", "head")}
        served = type(model).from_config({**config, **parts, "backbone": backbone})
    for name in parts:
        _copy_weights(_twins(getattr(model, name), getattr(served, name)))
    for layer in compat.nested_layers(served):
        if isinstance(layer, (DeformableConv2D, StarConv2D)):
            layer.unroll = unroll
    return served


def _folded_backbone(backbone):
    folded = type(backbone).from_config(_without_dtype(backbone.get_config()))
    twins = _twins(backbone, folded)
    _copy_weights(twins)
    twin_of = {id(layer): twin for layer, twin in twins}
    names = getattr(backbone, "pyramid_level_inputs", None)  # KerasHub's have tensors instead
    if names:
        # Layers that Keras has named have other names in the copy.
        names = {level: twin_of[id(backbone.get_layer(name))].name for level, name in names.items()}
        folded.pyramid_level_inputs = names
    fold.keep_slopes([twin for _, twin in twins])
    for conv, norm in fold.foldable_pairs([layer for layer, _ in twins], level_tensors(backbone).values()):
        fold.fold(conv, norm, twin_of[id(conv)], twin_of[id(norm)])
    return folded


def _twins(source, copy):
    """(layer, its counterpart in the copy) of all layers, blocks' inner ones and the two themselves included."""
    layers, copies = compat.nested_layers(source), compat.nested_layers(copy)
    if [type(layer) for layer in layers] != [type(layer) for layer in copies]:
        raise ValueError(f"{source.name} has other layers than its own configuration gives: {type(source).__name__}")
    return list(zip(layers, copies))


def _copy_weights(twins):
    """Layer by layer, as the order of a whole model's weights depends on which of them are trainable."""
    for layer, twin in twins:
        weights = {}
        layer.save_own_variables(weights)
        twin.load_own_variables(weights)


def _without_dtype(config):
    """A layer's configuration without the precision of it and of the layers inside, which are then of the policy's."""
    if isinstance(config, list):
        return [_without_dtype(value) for value in config]
    if isinstance(config, dict):
        kept = {key: value for key, value in config.items() if key != "dtype"}
        # A graph's nodes may have a dtype of their own, as a cast has.
        return {key: value if key == "inbound_nodes" else _without_dtype(value) for key, value in kept.items()}
    return config
