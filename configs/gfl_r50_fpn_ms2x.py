"""GFL, ResNet-50, COCO 2017, 24 epochs, multi-scale.

    gfl-import-checkpoint --config=gfl_r50_fpn_ms2x \
        --checkpoint=FILE.pth --run_dir=runs/gfl_r50_fpn_ms2x
    gfl-train --config=gfl_r50_fpn_ms2x \
        --run_dir=runs/gfl_r50_fpn_ms2x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 42.9 on COCO 2017 val (mmdetection's configs/gfl/README.md, row R-50 2x). Not trained by us: 16 images a
step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config("gfl_r50_fpn_ms2x", "gfl", "resnet50", epochs=24, short_side_range=(480, 800))
