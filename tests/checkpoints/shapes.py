"""The state_dict of small detectors in mmdetection: names and shapes, from how the PyTorch modules are made."""

import numpy as np

CLASSES, CHANNELS, BINS = 3, 8, 16  # two convolutions in a tower, ResNet-18


def resnet18_shapes():
    """{name: shape} of the PyTorch module, from its structure."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, inputs, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            shapes |= {**norm(f"{name}.bn1", width), **norm(f"{name}.bn2", width)}
            if inputs != width:
                shapes |= {f"{name}.downsample.0.weight": (width, inputs, 1, 1), **norm(f"{name}.downsample.1", width)}
            inputs = width
    return shapes


def norm(name, width):
    vectors = dict.fromkeys([f"{name}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")], (width,))
    return {**vectors, f"{name}.num_batches_tracked": ()}


def conv(name, outputs, inputs, size):
    return {f"{name}.weight": (outputs, inputs, size, size), f"{name}.bias": (outputs,)}


def detector_shapes():
    shapes = {f"backbone.{name}": shape for name, shape in resnet18_shapes().items()}
    for i, width in enumerate((128, 256, 512)):
        shapes |= conv(f"neck.lateral_convs.{i}.conv", CHANNELS, width, 1)
    for i in range(5):
        shapes |= conv(f"neck.fpn_convs.{i}.conv", CHANNELS, CHANNELS, 3)
    for tower in ("cls_convs", "reg_convs"):
        for i in range(2):
            name = f"bbox_head.{tower}.{i}"
            shapes[f"{name}.conv.weight"] = (CHANNELS, CHANNELS, 3, 3)
            shapes |= {f"{name}.gn.weight": (CHANNELS,), f"{name}.gn.bias": (CHANNELS,)}
    return shapes | {f"bbox_head.scales.{i}.scale": () for i in range(5)}


def gfl_shapes():
    outputs = conv("bbox_head.gfl_cls", CLASSES, CHANNELS, 3) | conv("bbox_head.gfl_reg", 4 * (BINS + 1), CHANNELS, 3)
    return {**detector_shapes(), **outputs, "bbox_head.integral.project": (BINS + 1,)}


def gflv2_shapes():
    return {**gfl_shapes(), **conv("bbox_head.reg_conf.0", 64, 20, 1), **conv("bbox_head.reg_conf.2", 1, 64, 1)}


def atss_shapes():
    outputs = {"atss_cls": CLASSES, "atss_reg": 4, "atss_centerness": 1}
    convs = [conv(f"bbox_head.{name}", count, CHANNELS, 3) for name, count in outputs.items()]
    return {**detector_shapes(), **convs[0], **convs[1], **convs[2]}


def fcos_shapes():
    """Of the improved version: convolutions before a group normalization have a bias, too."""
    shapes = detector_shapes()
    for tower in ("cls_convs", "reg_convs"):
        shapes |= {f"bbox_head.{tower}.{i}.conv.bias": (CHANNELS,) for i in range(2)}
    for name, count in {"conv_cls": CLASSES, "conv_reg": 4, "conv_centerness": 1}.items():
        shapes |= conv(f"bbox_head.{name}", count, CHANNELS, 3)
    return shapes


def retinanet_shapes():
    """No group normalization, no factors of the levels, nine anchors; P6 is made of the backbone's P5."""
    shapes = {name: shape for name, shape in detector_shapes().items() if not name.startswith("bbox_head.")}
    shapes["neck.fpn_convs.3.conv.weight"] = (CHANNELS, 512, 3, 3)
    for tower in ("cls_convs", "reg_convs"):
        for i in range(2):
            shapes |= conv(f"bbox_head.{tower}.{i}.conv", CHANNELS, CHANNELS, 3)
    for name, count in {"retina_cls": CLASSES, "retina_reg": 4}.items():
        shapes |= conv(f"bbox_head.{name}", 9 * count, CHANNELS, 3)
    return shapes


def random_weights(shapes, seed=0):
    random = np.random.default_rng(seed)
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name in weights:
        if name.endswith("project"):
            weights[name] = np.arange(BINS + 1, dtype=np.float32)
    return weights
