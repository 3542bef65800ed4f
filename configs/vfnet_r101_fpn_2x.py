"""VarifocalNet, ResNet-101, COCO 2017, 24 epochs.

    gfl-import-checkpoint --config=vfnet_r101_fpn_2x \
        --checkpoint=FILE.pth --run_dir=runs/vfnet_r101_fpn_2x
    gfl-train --config=vfnet_r101_fpn_2x \
        --run_dir=runs/vfnet_r101_fpn_2x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 43.5 on COCO 2017 val, 43.9 on test-dev (the authors' README, row R-101, 2x). Not trained by us: 16
images a step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config("vfnet_r101_fpn_2x", "vfnet", "resnet101", epochs=24)
