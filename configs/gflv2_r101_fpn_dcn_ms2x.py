"""GFLv2, ResNet-101 with deformable convolutions in C3 to C5, COCO 2017, 24 epochs, multi-scale.

    gfl-import-checkpoint --config=gflv2_r101_fpn_dcn_ms2x \
        --checkpoint=FILE.pth --run_dir=runs/gflv2_r101_fpn_dcn_ms2x
    gfl-train --config=gflv2_r101_fpn_dcn_ms2x \
        --run_dir=runs/gflv2_r101_fpn_dcn_ms2x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 48.0 on COCO minival, 48.2 on test-dev (README.md of the authors' repository, implus/GFocalV2,
GFocal_R_101_dcnv2_FPN_2x). The table says dcnv2, but the config behind it has version 1 (type DCN), and so has this
one. Not trained by us: 16 images a step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config(
        "gflv2_r101_fpn_dcn_ms2x",
        "gflv2",
        "resnet101",
        epochs=24,
        short_side_range=(480, 960),
        deformable_stages=("C3", "C4", "C5"),
    )
