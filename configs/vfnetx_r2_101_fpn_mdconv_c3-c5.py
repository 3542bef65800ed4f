"""VFNet-X: Res2Net-101 with deformable convolutions v2 in C3 to C5 and the head, PAFPN, COCO 2017, 41 + 18 epochs.

    gfl-import-checkpoint --config=vfnetx_r2_101_fpn_mdconv_c3-c5 \
        --checkpoint=FILE.pth --run_dir=runs/vfnetx_r2_101_fpn_mdconv_c3-c5
    gfl-train --config=vfnetx_r2_101_fpn_mdconv_c3-c5 \
        --run_dir=runs/vfnetx_r2_101_fpn_mdconv_c3-c5 \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

The training of section 5.3: random crop and cutout, sizes from 750x500 to 2100x1400, and after 41 epochs another 18
with a cyclic learning rate, whose weights are averaged. Detections by soft-NMS.

Reported: AP 53.4 on COCO 2017 val, 53.7 on test-dev; at 1800x1200 (gfl-evaluate --tta --tta_scales=1800x1200
--notta_flip) 54.5 and 55.1 (the authors' README, VFNet-X). Not trained by us: 16 images a step are meant for 8 GPUs.
Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config


def get_config():
    config = published_config(
        "vfnetx_r2_101_fpn_mdconv_c3-c5",
        "vfnet",
        "res2net101_v1d_26w_4s",
        epochs=41,
        short_side_range=(500, 1400),
        deformable_stages=("C3", "C4", "C5"),
    )
    config.model.neck = dict(name="pafpnx", channels=384)
    config.model.head.update(channels=384, num_convs=4)
    config.model.decoder.update(nms="soft_linear", iou_threshold=0.65)
    config.data.long_side_range = (750, 2100)
    config.data.augmentations = (
        dict(name="crop", probability=0.5, smallest=0.75),
        dict(name="cutout", probability=0.5),
        dict(name="flip", probability=0.5),
    )
    config.train.swa_epochs = 18
    return config
