"""GFLv2, KerasCV's ResNet-50, COCO 2017, 12 epochs (GFLv2, section 4.1).

    gfl-train --config=gflv2_kerascv_r50_1x --run_dir=runs/gflv2_kerascv_r50_1x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

The paper reports AP 41.1 on COCO minival (GFLv2, tables 1 and 2) with the reference's ResNet; KerasCV's ResNets
place their strides in the first 1x1 convolution of a block, so expect a little less. Not trained by us.
The ImageNet weights are downloaded. Where that cannot be: --config.model.backbone.weights=FILE.weights.h5 for weights
of yours, or --config.model.backbone.weights= --config.model.backbone.freeze_batch_norm=False for random ones.
"""

from gfl_tf.training.published import kerascv_config


def get_config():
    return kerascv_config("gflv2_kerascv_r50_1x", "gflv2")
