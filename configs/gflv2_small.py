"""A small, fast GFLv2 for data of one's own: a light backbone, depthwise neck and head, from random weights.

    gfl-train --config=gflv2_small:mobilenet_v3_large --run_dir=runs/small --config.data.path=DATA

Behind the colon stands a backbone; without, it is `yolo_v8`. Costs with 80 classes, at 320x320 pixels:

    | backbone | channels | million parameters | GFLOPs | float32, ms | int8, ms |
    | --- | ---: | ---: | ---: | ---: | ---: |
    | `yolo_v8` | 64 | 1.36 | 0.98 | 33 | 30 |
    | `csp_darknet_tiny` | 96 | 2.55 | 1.93 | 51 | 37 |
    | `mobilenet_v3_small` | 64 | 0.95 | 0.39 | 39 | 65 |
    | `mobilenet_v3_large` | 96 | 2.98 | 1.18 | 56 | 83 |
    | `efficientnet_v2_b0` | 96 | 6.17 | 3.30 | 70 | 68 |
    | `resnet18` | 128 | 11.48 | 7.98 | 153 | 73 |

With a full neck and head, `yolo_v8` has 1.73 million parameters, 1.98 GFLOPs and takes 45 ms in float32. FLOPs are
those of TensorFlow's profiler, two a multiply-add. Milliseconds are from pixels to boxes, one image, random weights:
float32 in TensorFlow 2.21, batch normalization folded away, and int8 in TensorFlow Lite with 2 threads. They are
medians of 25 rounds of all models on 2 cores that other work had too: ratios matter, and these are rough. MobileNetV3
gains nothing by int8 there.

Published weights of the backbone, by --config.model.backbone.weights=NAME: docs/backbones.md, "Small models".
"""

import ml_collections

from gfl_tf.backbones.blocks import IMAGENET_MEAN, IMAGENET_STD
from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train

# {argument: (channels of neck and head, name and arguments of `config.model.backbone`)}; KerasCV's are its presets'.
BACKBONES = {
    "yolo_v8": (
        64,
        "yolo_v8",
        dict(stackwise_channels=(32, 64, 128, 256), stackwise_depth=(1, 2, 2, 1), include_rescaling=True),
    ),
    "csp_darknet_tiny": (
        96,
        "csp_darknet",
        dict(stackwise_channels=(48, 96, 192, 384), stackwise_depth=(1, 3, 3, 1), include_rescaling=True),
    ),
    "mobilenet_v3_small": (
        64,
        "mobilenet_v3",
        dict(
            stackwise_expansion=(1, 72 / 16, 88 / 24, 4, 6, 6, 3, 3, 6, 6, 6),
            stackwise_filters=(16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96),
            stackwise_kernel_size=(3,) * 3 + (5,) * 8,
            stackwise_stride=(2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1),
            stackwise_se_ratio=(0.25, None, None) + (0.25,) * 8,
            stackwise_activation=("relu",) * 3 + ("hard_swish",) * 8,
            include_rescaling=True,
        ),
    ),
    "mobilenet_v3_large": (
        96,
        "mobilenet_v3",
        dict(
            stackwise_expansion=(1, 4, 3, 3, 3, 3, 6, 2.5, 2.3, 2.3, 6, 6, 6, 6, 6),
            stackwise_filters=(16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160),
            stackwise_kernel_size=(3,) * 3 + (5,) * 3 + (3,) * 6 + (5,) * 3,
            stackwise_stride=(1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1),
            stackwise_se_ratio=(None,) * 3 + (0.25,) * 3 + (None,) * 4 + (0.25,) * 5,
            stackwise_activation=("relu",) * 6 + ("hard_swish",) * 9,
            include_rescaling=True,
        ),
    ),
    "efficientnet_v2_b0": (
        96,
        "efficientnet_v2",
        dict(
            width_coefficient=1.0,
            depth_coefficient=1.0,
            stackwise_kernel_sizes=(3,) * 6,
            stackwise_num_repeats=(1, 2, 2, 3, 5, 8),
            stackwise_input_filters=(32, 16, 32, 48, 96, 112),
            stackwise_output_filters=(16, 32, 48, 96, 112, 192),
            stackwise_expansion_ratios=(1, 4, 4, 4, 6, 6),
            stackwise_squeeze_and_excite_ratios=(0, 0, 0, 0.25, 0.25, 0.25),
            stackwise_strides=(1, 2, 2, 2, 1, 2),
            stackwise_conv_types=("fused",) * 3 + ("unfused",) * 3,
            include_rescaling=True,
        ),
    ),
    "resnet18": (128, "reference_resnet", dict(depth=18)),
}


def get_config(backbone="yolo_v8"):
    config = ml_collections.ConfigDict()
    config.name = "gflv2_small"
    config.seed = 0
    config.precision = "float32"
    config.model = model(backbone)

    config.data = data = default_data()
    data.scale = (320, 320)
    data.augmentations = (dict(name="zoom", factor=(0.75, 1.33)), dict(name="flip", probability=0.5))
    data.cache = True

    config.train = train = default_train()
    train.batch_size = 8
    train.base_batch_size = 8
    train.epochs = 60
    train.optimizer = "adamw"
    train.learning_rate = 2e-3
    train.weight_decay = 0.05
    train.decay_bias = False
    train.decay_norm = False
    train.clip_norm = 10.0
    train.warmup_steps = 100
    train.schedule = "cosine"
    train.evaluate_every = 10
    return config


def model(backbone="yolo_v8"):
    """`config.model` of GFLv2 on one of `BACKBONES`."""
    if backbone not in BACKBONES:
        raise ValueError(f"gflv2_small has no backbone {backbone!r}; choose one of {', '.join(sorted(BACKBONES))}")
    channels, name, arguments = BACKBONES[backbone]
    config = default_model("gflv2")
    config.backbone = dict(name=name, arguments=arguments, weights="", freeze_batch_norm=False)
    if name == "reference_resnet":
        config.mean, config.std = IMAGENET_MEAN, IMAGENET_STD
    config.neck.update(channels=channels, depthwise=True)
    config.head.update(channels=channels, depthwise=True, num_convs=2, groups=channels // 4)
    return config
