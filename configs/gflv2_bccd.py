"""GFLv2 on BCCD's blood cells (205 training images), small backbone, from scratch."""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.name = "gflv2_bccd"
    config.seed = 0
    config.precision = "float32"

    config.model = ml_collections.ConfigDict()
    config.model.detector = "gflv2"
    config.model.num_classes = 3
    config.model.bounding_box_format = "xyxy"
    config.model.backbone = dict(
        name="yolo_v8",
        arguments=dict(stackwise_channels=(32, 64, 128, 256), stackwise_depth=(1, 2, 2, 1), include_rescaling=True),
        weights="",
        freeze_batch_norm=False,
    )
    config.model.neck = dict(name="fpn", channels=64)
    config.model.head = dict(channels=64, num_convs=2, groups=16, num_bins=16)
    config.model.dgqp = dict(k=4, hidden=64, statistics=("topk", "mean"), composed_channels=0)
    config.model.classification_loss = "quality_focal"
    config.model.quality_targets = True
    config.model.distribution_weight = 0.25
    config.model.decoder = dict(score_threshold=0.05, candidates_per_level=1000, iou_threshold=0.6, max_detections=100)
    return config
