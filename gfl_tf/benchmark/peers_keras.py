"""Detectors of KerasCV and KerasHub with random weights, on a backbone of the size of ours."""

import keras
import numpy as np

from gfl_tf.benchmark.artifacts import Artifact
from gfl_tf.benchmark.rounds import Parts
from gfl_tf.benchmark.workloads import Case
from gfl_tf.build import BACKBONES, default_model
from gfl_tf.compat import keras_cv

PREDICT = "forward and decoding"


def keras_cv_retinanet(artifact: Artifact, case: Case) -> Parts:
    """KerasCV's RetinaNet: it makes its anchors from the static shape."""
    model = keras_cv.models.RetinaNet(
        backbone=_backbone(artifact), num_classes=_classes(artifact), bounding_box_format="xyxy"
    )
    return {PREDICT: _predict(model, case)}


def keras_cv_yolo_v8(artifact: Artifact, case: Case) -> Parts:
    """KerasCV's YOLOv8."""
    model = keras_cv.models.YOLOV8Detector(
        backbone=_backbone(artifact), num_classes=_classes(artifact), bounding_box_format="xyxy", fpn_depth=1
    )
    return {PREDICT: _predict(model, case)}


def keras_hub_retinanet(artifact: Artifact, case: Case) -> Parts:
    """KerasHub's RetinaNet, on its ResNet-50."""
    import keras_hub

    models = keras_hub.models
    encoder = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
    )
    backbone = models.RetinaNetBackbone(encoder, min_level=3, max_level=7, use_p5=False)
    model = models.RetinaNetObjectDetector(backbone, num_classes=_classes(artifact), bounding_box_format="xyxy")
    return {PREDICT: _predict(model, case)}


def _backbone(artifact):
    """The detector's own where it is one of KerasCV's, else KerasCV's ResNet-50."""
    config = artifact.config.model.backbone
    is_keras_cv = BACKBONES[config.name].__module__.startswith("keras_cv")
    config = config if is_keras_cv else default_model().backbone
    return BACKBONES[config.name](**config.arguments.to_dict())


def _classes(artifact):
    return artifact.config.model.num_classes


def _predict(model: keras.Model, case: Case):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (case.batch_size, case.height, case.width, 3)).astype(np.float32)
    return lambda: model.predict(images, verbose=0)
