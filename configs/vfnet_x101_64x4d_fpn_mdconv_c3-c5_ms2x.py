"""VarifocalNet, ResNeXt-101 64x4d with deformable convolutions v2 in C3 to C5 and the head, COCO 2017, 24 epochs,
multi-scale.

    gfl-import-checkpoint --config=vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x \
        --checkpoint=FILE.pth --run_dir=runs/vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x
    gfl-train --config=vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x \
        --run_dir=runs/vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Reported: AP 50.4 on COCO 2017 val, 50.8 on test-dev (the authors' README, row X-101-64x4d, DCN, 2x, multi-scale).
Not trained by us: 16 images a step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    return published_config(
        "vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x",
        "vfnet",
        "resnext101_64x4d",
        epochs=24,
        short_side_range=(480, 960),
        deformable_stages=("C3", "C4", "C5"),
    )
