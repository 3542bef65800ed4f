"""GFLv2, KerasCV's ResNet-101, COCO 2017, multi-scale, 24 epochs (GFLv2, section 4.2).

    gfl-train --config=gflv2_kerascv_r101_ms2x --run_dir=runs/gflv2_kerascv_r101_ms2x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

The paper reports AP 46.2 on COCO test-dev (GFLv2, table 7) with the reference's ResNet; KerasCV's ResNets
place their strides in the first 1x1 convolution of a block, so expect a little less. Not trained by us.
KerasCV publishes no ImageNet weights of its ResNet-101 (v1), so the config starts from random ones, which costs much
AP: --config.model.backbone.weights=FILE.weights.h5 starts from weights of yours, with freeze_batch_norm=True.
"""

import ml_collections

from gfl_tf.build import default_model
from gfl_tf.training.config import default_data, default_train


def get_config():
    config = ml_collections.ConfigDict()
    config.name = "gflv2_kerascv_r101_ms2x"
    config.seed = 0
    config.precision = "float32"

    config.model = model = default_model("gflv2")
    model.backbone.arguments.stackwise_blocks = (3, 4, 23, 3)

    config.data = data = default_data()
    data.scale = (1333, 800)
    data.short_side_range = (480, 960)
    data.keep_empty = False

    config.train = train = default_train()
    train.batch_size = 16
    train.learning_rate = 0.01
    train.epochs = 24
    train.milestones = (16, 22)
    return config
