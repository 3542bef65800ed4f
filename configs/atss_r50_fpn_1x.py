"""ATSS, ResNet-50, COCO 2017, 12 epochs.

    gfl-import-checkpoint --config=atss_r50_fpn_1x \
        --checkpoint=FILE.pth --run_dir=runs/atss_r50_fpn_1x
    gfl-train --config=atss_r50_fpn_1x \
        --run_dir=runs/atss_r50_fpn_1x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 39.4 on COCO 2017 val (mmdetection's configs/atss/README.md, row R-50). Not trained by us: 16 images a
step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config("atss_r50_fpn_1x", "atss", "resnet50")
