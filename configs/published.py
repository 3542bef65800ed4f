"""Published models of FCOS, RetinaNet and ATSS, students of localization distillation, and other models of GFL and
VarifocalNet than those that have a file of their own here: COCO 2017.

    gfl-import-checkpoint --config=published:retinanet_r50_fpn_1x --checkpoint=FILE.pth --run_dir=runs/retinanet_r50
    gfl-train --config=published:atss_r101_fpn_ms2x --run_dir=runs/atss_r101 \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Behind the colon stands one of `MODELS`, each with the AP that its source reports, of COCO 2017 val or of "test-dev".
Those of mmdetection are named after its files. None was trained by us: 16 images a step are meant for 8 GPUs. Training
downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

import typing

from gfl_tf.training.published import FAST_BIASES, published_config


class Model(typing.NamedTuple):
    """A published model.

    Attributes:
        reported: its AP.
        source: who reports it, and where.
        file: whether its checkpoint can be imported; otherwise why not.
        arguments: of `published_config`.
    """

    reported: str
    source: str
    file: str
    arguments: dict


C3_TO_C5, C4_TO_C5 = ("C3", "C4", "C5"), ("C4", "C5")
READ = "mmdetection's or the authors' .pth file"
MS_640 = dict(short_side_range=(640, 800))

# mmdetection's first FCOS: distances in pixels by an exponential, -log(IoU), centerness on the class tower, positives
# anywhere in a box.
FCOS = dict(
    detector="fcos",
    model=dict(
        assigner=dict(centre_radius=0.0),
        boxes=dict(activation="exp", unit="pixel"),
        score=dict(quality_tower="class"),
        box_loss=dict(name="iou"),
        decoder=dict(iou_threshold=0.5),
    ),
    train=dict(warmup_factor=1 / 3, clip_norm=35.0, **FAST_BIASES),
)
# Its improved version ("center-normbbox-centeronreg-giou"): the recipe's, with biases before the group normalization.
IMPROVED_FCOS = dict(
    detector="fcos",
    backbone="resnet50_msra",
    model=dict(head=dict(conv_bias=True)),
    train=dict(warmup_factor=1 / 3, **FAST_BIASES),
)
TWO_SIDES = dict(**MS_640, epochs=24, data=dict(num_sides=2))  # 640 or 800, nothing between
RETINANET = dict(detector="retinanet", model=dict(decoder=dict(iou_threshold=0.5)))
# The authors' of ATSS, on maskrcnn-benchmark: a ReLU before P7, biases before the group normalization.
ATSS = dict(
    detector="atss",
    epochs=24,
    **MS_640,
    model=dict(neck=dict(extra_relu=True), head=dict(conv_bias=True)),
    train=dict(warmup_factor=1 / 3, **FAST_BIASES),
)
# The authors' first repository, on mmdetection 1.x.
GFL = dict(
    detector="gfl",
    epochs=24,
    short_side_range=(480, 800),
    train=dict(warmup_factor=1 / 3, **FAST_BIASES),
)
DCN_V2 = dict(deformable_stages=C3_TO_C5, model=dict(backbone=dict(arguments=dict(deformable_version=2))))
VFNET = dict(detector="vfnet", epochs=24, **MS_640)


def of_fcos():
    source = "mmdetection, configs/fcos"
    improved = "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head"
    rows = {
        "fcos_r50_caffe_fpn_gn-head_1x": ("36.6", dict(backbone="resnet50_caffe")),
        "fcos_r101_caffe_fpn_gn-head_1x": ("39.1", dict(backbone="resnet101_caffe")),
        "fcos_r50_caffe_fpn_gn-head_mstrain_640-800_2x": ("38.5", dict(backbone="resnet50_caffe", **TWO_SIDES)),
        "fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x": ("40.8", dict(backbone="resnet101_caffe", **TWO_SIDES)),
        "fcos_x101_64x4d_fpn_gn-head_mstrain_640-800_2x": ("42.6", dict(backbone="resnext101_64x4d", **TWO_SIDES)),
    }
    found = {name: Model(ap, source, READ, dict(FCOS, **row)) for name, (ap, row) in rows.items()}
    found[f"{improved}_1x"] = Model("38.7", source, READ, IMPROVED_FCOS)
    found[f"{improved}_dcn_1x"] = Model("42.3", source, READ, dict(IMPROVED_FCOS, deformable_stages=C3_TO_C5))
    return found


def of_retinanet():
    ms3x = dict(epochs=36, **MS_640)
    rows = {
        "retinanet_r18_fpn_1x": ("31.7", "resnet18", {}),
        "retinanet_r50_fpn_1x": ("36.5", "resnet50", {}),
        "retinanet_r50_fpn_2x": ("37.4", "resnet50", dict(epochs=24)),
        "retinanet_r50_fpn_mstrain_3x": ("39.5", "resnet50", ms3x),
        "retinanet_r50_caffe_fpn_1x": ("36.3", "resnet50_msra", {}),
        "retinanet_r101_fpn_1x": ("38.5", "resnet101", {}),
        "retinanet_r101_fpn_2x": ("38.9", "resnet101", dict(epochs=24)),
        "retinanet_r101_fpn_mstrain_3x": ("41.0", "resnet101", ms3x),
        "retinanet_r101_caffe_fpn_1x": ("38.5", "resnet101_msra", {}),
        "retinanet_r101_caffe_fpn_mstrain_3x": ("40.7", "resnet101_msra", ms3x),
        "retinanet_x101_32x4d_fpn_1x": ("39.9", "resnext101_32x4d", {}),
        "retinanet_x101_32x4d_fpn_2x": ("40.1", "resnext101_32x4d", dict(epochs=24)),
        "retinanet_x101_64x4d_fpn_1x": ("41.0", "resnext101_64x4d", {}),
        "retinanet_x101_64x4d_fpn_2x": ("40.8", "resnext101_64x4d", dict(epochs=24)),
        "retinanet_x101_64x4d_fpn_mstrain_3x": ("41.6", "resnext101_64x4d", ms3x),
    }
    return {
        name: Model(ap, "mmdetection, configs/retinanet", READ, dict(RETINANET, backbone=backbone, **row))
        for name, (ap, backbone, row) in rows.items()
    }


def of_distillation():
    """Students of Zheng et al., "Localization Distillation for Dense Object Detection", CVPR 2022: GFL as it is.

    Their teachers are GFL on ResNet-101, that of the last with deformable convolutions. Here they train without.
    """
    source = "mmdetection, configs/ld; with a teacher"
    rows = {
        "ld_r18_gflv1_r101_fpn_1x": ("36.5", dict(backbone="resnet18")),
        "ld_r34_gflv1_r101_fpn_1x": ("39.9", dict(backbone="resnet34")),
        "ld_r50_gflv1_r101_fpn_1x": ("41.0", dict(backbone="resnet50")),
        "ld_r101_gflv1_r101dcn_fpn_2x": ("45.5", dict(backbone="resnet101", epochs=24, short_side_range=(480, 800))),
    }
    return {name: Model(ap, source, READ, dict(detector="gfl", **row)) for name, (ap, row) in rows.items()}


def of_atss():
    vfl = dict(  # as in the authors' code, places outside an image are negatives
        assigner=dict(ignore_outside=False),
        score=dict(quality_targets=True),
        classification_loss=dict(name="varifocal", alpha=0.75, gamma=2.0, iou_weighted=True),
    )
    found = {
        "atss_vfl_r50_fpn_1x": Model(
            "40.2", "VarifocalNet's authors, README", READ, dict(detector="atss", backbone="resnet50", model=vfl)
        )
    }
    rows = {
        "atss_r101_fpn_ms2x": ("43.5, test-dev 43.6", "resnet101_caffe", ()),
        "atss_dcnv2_r101_fpn_ms2x": ("46.1, test-dev 46.3", "resnet101_caffe", C3_TO_C5),
        "atss_x101_32x8d_fpn_ms2x": ("44.8, test-dev 45.1", "resnext101_32x8d", ()),
        "atss_dcnv2_x101_32x8d_fpn_ms2x": ("47.7, test-dev 47.7", "resnext101_32x8d", C4_TO_C5),
        "atss_x101_64x4d_fpn_ms2x": ("45.5, test-dev 45.6", "resnext101_64x4d", ()),
        "atss_dcnv2_x101_64x4d_fpn_ms2x": ("47.7, test-dev 47.7", "resnext101_64x4d", C4_TO_C5),
    }
    for name, (ap, backbone, stages) in rows.items():
        arguments = dict(ATSS, backbone=backbone, deformable_stages=stages)
        found[name] = Model(ap, "ATSS's authors, README", "none: it is maskrcnn-benchmark's", arguments)
    return found


def of_gfl():
    """GFL's authors' own files are of mmdetection 1.x, whose points and boxes lie elsewhere: they are not imported.

    Their first README named 32x8d where the config behind it, and the corrected README with the same links, have 32x4d:
    the rows of 32x8d have the numbers of that README, for a model that was probably never trained.
    """
    source, slip = "GFL's authors, README", "GFL's authors, README before its correction to 32x4d"
    rows = {
        "gfl_dcnv2_r101_fpn_ms2x": ("47.2, test-dev 47.3", source, "resnet101", DCN_V2),
        "gfl_dcnv2_x101_32x4d_fpn_ms2x": ("48.3, test-dev 48.2", source, "resnext101_32x4d", DCN_V2),
        "gfl_x101_32x8d_fpn_ms2x": ("45.7, test-dev 46.0", slip, "resnext101_32x8d", {}),
        "gfl_dcnv2_x101_32x8d_fpn_ms2x": ("48.3, test-dev 48.2", slip, "resnext101_32x8d", DCN_V2),
    }
    return {
        name: Model(ap, source, "none: it is mmdetection 1.x's", dict(GFL, backbone=backbone, **row))
        for name, (ap, source, backbone, row) in rows.items()
    }


def of_vfnet():
    """VarifocalNet at the range of sizes that ATSS has; the models with a file of their own here have 480 to 960."""
    source = "VarifocalNet, table 4, the number before the stroke"
    rows = {
        "r50": ("resnet50", "44.3", "47.3"),
        "r101": ("resnet101", "46.0", "48.4"),
        "x101_32x4d": ("resnext101_32x4d", "46.7", "49.2"),
        "x101_64x4d": ("resnext101_64x4d", "47.4", "49.9"),
        "r2_101": ("res2net101_v1d_26w_4s", "48.4", "50.4"),
    }
    found = {}
    for name, (backbone, plain, deformable) in rows.items():
        for kind, ap, stages in (("fpn", plain, ()), ("fpn_mdconv_c3-c5", deformable, C3_TO_C5)):
            arguments = dict(VFNET, backbone=backbone, deformable_stages=stages)
            found[f"vfnet_{name}_{kind}_640-800_2x"] = Model(f"test-dev {ap}", source, "none published", arguments)
    return found


MODELS = {**of_fcos(), **of_retinanet(), **of_distillation(), **of_atss(), **of_gfl(), **of_vfnet()}


def get_config(model="retinanet_r50_fpn_1x"):
    if model not in MODELS:
        raise ValueError(f"published has no model {model!r}; choose one of {', '.join(sorted(MODELS))}")
    return published_config(model, **MODELS[model].arguments)
