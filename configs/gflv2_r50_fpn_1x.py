"""GFLv2, ResNet-50, COCO 2017, 12 epochs.

    gfl-import-checkpoint --config=gflv2_r50_fpn_1x \
        --checkpoint=FILE.pth --run_dir=runs/gflv2_r50_fpn_1x
    gfl-train --config=gflv2_r50_fpn_1x \
        --run_dir=runs/gflv2_r50_fpn_1x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 41.0 on COCO minival, 41.1 on test-dev (README.md of the authors' repository, implus/GFocalV2,
GFocal_R_50_FPN_1x). Not trained by us: 16 images a step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config("gflv2_r50_fpn_1x", "gflv2", "resnet50")
