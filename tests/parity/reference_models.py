"""The reference's models: mmdetection's configs of them, and weights that depend on their names alone."""

import mmdet.models.dense_heads as dense_heads
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from weights import weight

STAGES = ("C2", "C3", "C4", "C5")
SETTINGS = {"det": (1000, 0.6, 100), "det_stress": (100, 0.3, 300)}  # candidates, NMS threshold, detections
SCORE_THRESHOLD = 0.05


def resnet(depth, dcn_stages="", version=1, kind="ResNet", **options):
    config = dict(type=kind, depth=depth, frozen_stages=1, norm_eval=True, norm_cfg=dict(type="BN"), style="pytorch")
    if dcn_stages:
        config["dcn"] = dict(type={1: "DCN", 2: "DCNv2"}[version], deform_groups=1, fallback_on_stride=False)
        config["stage_with_dcn"] = tuple(stage in dcn_stages.split() for stage in STAGES)
    return {**config, **options}


def resnext(groups, base_width, **options):
    return resnet(101, kind="ResNeXt", groups=groups, base_width=base_width, **options)


def res2net(**options):
    return resnet(101, kind="Res2Net", scales=4, base_width=26, **options)


# The published models, by the names of our configs: head and backbone.
DETECTORS = {
    "gfl_r50_fpn_1x": ("GFLHead", resnet(50)),
    "gfl_r101_fpn_ms2x": ("GFLHead", resnet(101)),
    "gfl_r101_fpn_dconv_c3-c5_ms2x": ("GFLHead", resnet(101, "C3 C4 C5")),
    "gfl_x101_32x4d_fpn_ms2x": ("GFLHead", resnext(32, 4)),
    "gfl_x101_32x4d_fpn_dconv_c4-c5_ms2x": ("GFLHead", resnext(32, 4, dcn_stages="C4 C5")),
    "gflv2_r50_fpn_1x": ("GFLV2Head", resnet(50)),
    "gflv2_r101_fpn_ms2x": ("GFLV2Head", resnet(101)),
    "gflv2_r101_fpn_dcn_ms2x": ("GFLV2Head", resnet(101, "C3 C4 C5")),
    "gflv2_x101_32x4d_fpn_dcn_ms2x": ("GFLV2Head", resnext(32, 4, dcn_stages="C4 C5")),
    "gflv2_r2_101_fpn_dcn_ms2x": ("GFLV2Head", res2net(dcn_stages="C4 C5")),
    "atss_r50_fpn_1x": ("ATSSHead", resnet(50)),
    "atss_r101_fpn_1x": ("ATSSHead", resnet(101)),
}
# What no published detector here has.
BACKBONES = {
    "resnet18": resnet(18),
    "resnet34": resnet(34),
    "resnet50_dcnv2": resnet(50, "C3 C4 C5", version=2),
    "resnext101_32x8d": resnext(32, 8),
    "resnext101_64x4d": resnext(64, 4),
    "resnext101_32x4d_dcnv2": resnext(32, 4, dcn_stages="C4 C5", version=2),
    "res2net101": res2net(),
}


class Probabilities(torch.Tensor):
    """What is a probability already: its sigmoid is itself. So GFLHead's code serves for the joint scores of GFLv2."""

    def sigmoid(self):
        return self


class GFLV2Head(dense_heads.GFLHead):
    """GFLv2's head (section 3.2): scores times the quality predicted from the side distributions' statistics."""

    def _init_layers(self):
        super()._init_layers()
        self.reg_conf = torch.nn.Sequential(
            torch.nn.Conv2d(20, 64, 1), torch.nn.ReLU(), torch.nn.Conv2d(64, 1, 1), torch.nn.Sigmoid()
        )

    def forward_single(self, feature, scale):
        logits, sides = super().forward_single(feature, scale)  # sides are float32 always
        top = sides.to(logits.dtype).unflatten(1, (4, -1)).softmax(dim=2).topk(4, dim=2).values  # [B, 4, 4, H, W]
        statistics = torch.cat([top, top.mean(dim=2, keepdim=True)], dim=2).flatten(1, 2)
        scores = logits.sigmoid() * self.reg_conf(statistics)
        return scores.as_subclass(Probabilities), sides


def build_detector(head, backbone):
    """The detector of mmdetection with the weights of their names."""
    if head == "GFLV2Head":
        MODELS.register_module(module=GFLV2Head, force=True)
    focal = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
    quality = dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, activated=head == "GFLV2Head")
    head_config = dict(
        type=head,
        num_classes=80,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
        ),
        loss_cls=focal if head == "ATSSHead" else quality,
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
    )
    if head == "ATSSHead":
        head_config["bbox_coder"] = dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2])
        head_config["loss_centerness"] = dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0)
    else:
        head_config.update(reg_max=16, loss_dfl=dict(type="DistributionFocalLoss", loss_weight=0.25))
    model = MODELS.build(
        dict(
            type="ATSS" if head == "ATSSHead" else "GFL",
            backbone=backbone,
            neck=dict(
                type="FPN",
                in_channels=[256, 512, 1024, 2048],
                out_channels=256,
                start_level=1,
                add_extra_convs="on_output",
                num_outs=5,
            ),
            bbox_head=head_config,
            train_cfg=dict(assigner=dict(type="ATSSAssigner", topk=9), allowed_border=-1, pos_weight=-1, debug=False),
            test_cfg=detection_config(*SETTINGS["det"]),
        )
    )
    assign(model)
    return model.train()  # the backbone's batch norm and first stage stay as they are: norm_eval, frozen_stages


def build_backbone(config):
    model = MODELS.build(config)
    assign(model, "backbone.")
    model.eval()  # mmdetection's returns nothing
    return model


def assign(module, prefix=""):
    state = module.state_dict()
    values = {key: torch.from_numpy(weight(prefix + key, value.shape)) for key, value in state.items()}
    module.load_state_dict(values)


def detection_config(nms_pre, iou_threshold, max_per_img):
    return ConfigDict(
        nms_pre=nms_pre,
        min_bbox_size=0,
        score_thr=SCORE_THRESHOLD,
        nms=dict(type="nms", iou_threshold=iou_threshold),
        max_per_img=max_per_img,
    )
