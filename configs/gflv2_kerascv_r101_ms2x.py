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

from gfl_tf.training.published import kerascv_config


def get_config():
    blocks = dict(backbone=dict(arguments=dict(stackwise_blocks=(3, 4, 23, 3))))
    return kerascv_config("gflv2_kerascv_r101_ms2x", "gflv2", "", epochs=24, short_side_range=(480, 960), model=blocks)
