"""The reference's models: mmdetection's configs of them, and weights that depend on their names alone."""

import mmdet.models.dense_heads as dense_heads
import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from weights import weight

STAGES = ("C2", "C3", "C4", "C5")
# Names of the raw outputs, by head.
KINDS = {
    "ATSSHead": ("cls", "reg", "ctr"),
    "ATSSVFLHead": ("cls", "reg", "ctr"),
    "FCOSHead": ("cls", "reg", "ctr"),
    "VFNetHead": ("cls", "reg", "reg_refine"),
}


def resnet(depth, dcn_stages="", version=1, kind="ResNet", **options):
    config = dict(type=kind, depth=depth, frozen_stages=1, norm_eval=True, norm_cfg=dict(type="BN"), style="pytorch")
    if dcn_stages:
        config["dcn"] = dict(type={1: "DCN", 2: "DCNv2"}[version], deform_groups=1, fallback_on_stride=False)
        config["stage_with_dcn"] = tuple(stage in dcn_stages.split() for stage in STAGES)
    return {**config, **options}


def caffe(depth, dcn_stages="", version=2):
    """Detectron's: strides in the first 1x1 convolution of a block, batch norm not trained."""
    return resnet(depth, dcn_stages, version, style="caffe", norm_cfg=dict(type="BN", requires_grad=False))


def resnext(groups, base_width, **options):
    return resnet(101, kind="ResNeXt", groups=groups, base_width=base_width, **options)


def res2net(**options):
    return resnet(101, kind="Res2Net", scales=4, base_width=26, **options)


# The published models, by the names of our configs: head (one of HEADS), backbone, and, where they are not FPN and RGB,
# the neck and the pixels (one of `inputs.PIXELS`). Where VFNet has deformable convolutions, its towers end with one.
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
    "vfnet_r50_fpn_1x": ("VFNetHead", resnet(50)),
    "vfnet_r50_fpn_mdconv_c3-c5_ms2x": ("VFNetHead", resnet(50, "C3 C4 C5", version=2)),
    "vfnet_r101_fpn_1x": ("VFNetHead", resnet(101)),
    "vfnet_r101_fpn_mdconv_c3-c5_ms2x": ("VFNetHead", resnet(101, "C3 C4 C5", version=2)),
    "vfnet_x101_32x4d_fpn_ms2x": ("VFNetHead", resnext(32, 4)),
    "vfnet_x101_32x4d_fpn_mdconv_c3-c5_ms2x": ("VFNetHead", resnext(32, 4, dcn_stages="C3 C4 C5", version=2)),
    "vfnet_x101_64x4d_fpn_ms2x": ("VFNetHead", resnext(64, 4)),
    "vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x": ("VFNetHead", resnext(64, 4, dcn_stages="C3 C4 C5", version=2)),
    "vfnet_r2_101_fpn_ms2x": ("VFNetHead", res2net()),
    "vfnet_r2_101_fpn_mdconv_c3-c5_ms2x": ("VFNetHead", res2net(dcn_stages="C3 C4 C5", version=2)),
    "vfnetx_r2_101_fpn_mdconv_c3-c5": ("VFNetHead", res2net(dcn_stages="C3 C4 C5", version=2), "PAFPNX"),
    "fcos_r50_caffe_fpn_gn-head_1x": ("FCOS", caffe(50), "FPN", "detectron"),
    "fcos_r101_caffe_fpn_gn-head_1x": ("FCOS", caffe(101), "FPN", "detectron"),
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x": ("improved FCOS", caffe(50), "FPN", "msra"),
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x": (
        "improved FCOS",
        caffe(50, "C3 C4 C5"),
        "FPN",
        "msra",
    ),
    "retinanet_r50_fpn_1x": ("RetinaHead", resnet(50)),
    "retinanet_r101_fpn_1x": ("RetinaHead", resnet(101)),
    "retinanet_x101_32x4d_fpn_1x": ("RetinaHead", resnext(32, 4)),
    "retinanet_x101_64x4d_fpn_1x": ("RetinaHead", resnext(64, 4)),
    "atss_vfl_r50_fpn_1x": ("ATSSVFLHead", resnet(50)),
    "ld_r18_gflv1_r101_fpn_1x": ("GFLHead", resnet(18)),
    "ld_r34_gflv1_r101_fpn_1x": ("GFLHead", resnet(34)),
}
# What no published detector here has.
BACKBONES = {
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


class ATSSVFLHead(dense_heads.ATSSHead):
    """ATSS with the varifocal loss (VarifocalNet, section 5.4): class scores learn the IoU of the predicted box.

    As in the authors' code, places outside an image are negatives.
    """

    def __init__(self, *args, loss_vfl, **options):
        super().__init__(*args, **options)
        self.loss_vfl = MODELS.build(loss_vfl)

    def loss_by_feat_single(
        self, anchors, cls_score, bbox_pred, centerness, labels, label_weights, bbox_targets, avg_factor
    ):
        _, *others = super().loss_by_feat_single(
            anchors, cls_score, bbox_pred, centerness, labels, label_weights, bbox_targets, avg_factor
        )
        logits, deltas = (level.movedim(1, -1).flatten(0, 2) for level in (cls_score, bbox_pred))
        labels, anchors, wanted = labels.flatten(), anchors.flatten(0, 1), bbox_targets.flatten(0, 1)
        positive = (labels < self.num_classes).nonzero().squeeze(1)
        targets = torch.zeros_like(logits)
        if len(positive):
            boxes = self.bbox_coder.decode(anchors[positive], deltas[positive].detach())
            iou = bbox_overlaps(boxes, wanted[positive], is_aligned=True).clamp(min=1e-6)
            targets[positive, labels[positive]] = iou
        return self.loss_vfl(logits, targets, avg_factor=avg_factor), *others


class PAFPNX(torch.nn.Module):
    """VFNet-X's neck (section 5.3): FPN's levels P3 to P5, a path up again (PANet), P6 and P7 from the last of these.

    Group norm after every convolution but the laterals, and no ReLU but the one between P6 and P7.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__()

        def convs(count, **options):
            norm = dict(type="GN", num_groups=32)
            blocks = [
                ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm, act_cfg=None, **options)
                for _ in range(count)
            ]
            return torch.nn.ModuleList(blocks)

        laterals = [ConvModule(channels, out_channels, 1, act_cfg=None) for channels in in_channels]
        self.lateral_convs = torch.nn.ModuleList(laterals)
        self.fpn_convs = convs(3) + convs(2, stride=2)
        self.downsample_convs = convs(2, stride=2)
        self.pafpn_convs = convs(3, conv_cfg=dict(type="DCNv2"))

    def forward(self, features):
        c3, c4, c5 = (conv(feature) for conv, feature in zip(self.lateral_convs, features[1:]))
        c4 = c4 + c5.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        c3 = c3 + c4.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        n3 = self.fpn_convs[0](c3)
        n4 = self.fpn_convs[1](c4) + self.downsample_convs[0](n3)
        n5 = self.fpn_convs[2](c5) + self.downsample_convs[1](n4)
        levels = [conv(n) for conv, n in zip(self.pafpn_convs, (n3, n4, n5))]
        levels.append(self.fpn_convs[3](levels[2]))
        levels.append(self.fpn_convs[4](levels[3].relu()))
        return levels


def build_detector(head, backbone, neck="FPN", pixels="rgb"):
    """The detector of mmdetection with the weights of their names."""
    for module in (GFLV2Head, ATSSVFLHead, PAFPNX):
        MODELS.register_module(module=module, force=True)
    nms = dict(type="nms", iou_threshold=0.5 if head in ("FCOS", "RetinaHead") else 0.6)
    necks = {
        "FPN": dict(
            type="FPN",
            in_channels=[channels * (1 if backbone["depth"] < 50 else 4) for channels in (64, 128, 256, 512)],
            out_channels=256,
            start_level=1,
            add_extra_convs="on_input" if head == "RetinaHead" else "on_output",
            num_outs=5,
            relu_before_extra_convs=head in ("VFNetHead", "FCOS", "improved FCOS"),
        ),
        "PAFPNX": dict(type="PAFPNX", in_channels=[512, 1024, 2048], out_channels=384),
    }
    head_config = HEADS[head]("dcn" in backbone)
    if neck == "PAFPNX":
        head_config.update(in_channels=384, feat_channels=384, stacked_convs=4)
        nms = dict(type="soft_nms", iou_threshold=0.65)
    model = MODELS.build(
        dict(
            type="SingleStageDetector",
            backbone=backbone,
            neck=necks[neck],
            bbox_head={"type": head, "num_classes": 80, **head_config},
            train_cfg=dict(assigner=ASSIGNERS.get(head, ATSS), allowed_border=-1, pos_weight=-1, debug=False),
            test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=nms, max_per_img=100),
        )
    )
    assign(model)
    return model.train()  # the backbone's batch norm and first stage stay as they are: norm_eval, frozen_stages


def stressed(test_cfg):
    """Settings under which suppression and the choice of candidates have more to do."""
    nms = {**test_cfg["nms"], "iou_threshold": 0.3}
    return ConfigDict({**test_cfg, "nms_pre": 100, "max_per_img": 300, "nms": nms})


FOCAL = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0)
VFL = dict(type="VarifocalLoss", use_sigmoid=True, alpha=0.75, gamma=2.0, iou_weighted=True, loss_weight=1.0)
ATSS = dict(type="ATSSAssigner", topk=9)
ASSIGNERS = {"RetinaHead": dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)}


def _atss(has_dcn):
    return dict(
        **_common(stacked_convs=4),
        loss_cls=FOCAL,
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    )


def _atss_vfl(has_dcn):
    return dict(_atss(has_dcn), loss_vfl=VFL)


def _fcos(has_dcn):
    return dict(
        type="FCOSHead",
        in_channels=256,
        strides=[8, 16, 32, 64, 128],
        loss_cls=FOCAL,
        loss_bbox=dict(type="IoULoss", loss_weight=1.0),
    )


def _improved_fcos(has_dcn):
    return dict(
        _fcos(has_dcn),
        norm_on_bbox=True,
        centerness_on_reg=True,
        center_sampling=True,
        conv_bias=True,
        dcn_on_last_conv=has_dcn,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.0),
    )


def _retina(has_dcn):
    options = _common(stacked_convs=4)
    options["anchor_generator"].update(ratios=[0.5, 1.0, 2.0], octave_base_scale=4, scales_per_octave=3)
    return dict(
        **options,
        loss_cls=FOCAL,
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_stds=[1.0, 1.0, 1.0, 1.0]),
    )


def _gfl(has_dcn, activated=False):
    return dict(
        **_common(stacked_convs=4),
        loss_cls=dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0, activated=activated),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_dfl=dict(type="DistributionFocalLoss", loss_weight=0.25),
        reg_max=16,
    )


def _gflv2(has_dcn):
    return _gfl(has_dcn, activated=True)


def _vfnet(has_dcn):
    options = _common(stacked_convs=3)
    options["anchor_generator"]["center_offset"] = 0.0
    return dict(
        **options,
        strides=[8, 16, 32, 64, 128],
        dcn_on_last_conv=has_dcn,
        loss_cls=VFL,
        loss_bbox=dict(type="GIoULoss", loss_weight=1.5),
        loss_bbox_refine=dict(type="GIoULoss", loss_weight=2.0),
    )


def _common(stacked_convs):
    return dict(
        in_channels=256,
        feat_channels=256,
        stacked_convs=stacked_convs,
        anchor_generator=dict(
            type="AnchorGenerator", ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16, 32, 64, 128]
        ),
    )


# Configuration of a head, but for its number of classes; the argument: whether the model has deformable convolutions.
HEADS = {
    "ATSSHead": _atss,
    "ATSSVFLHead": _atss_vfl,
    "FCOS": _fcos,
    "improved FCOS": _improved_fcos,
    "GFLHead": _gfl,
    "GFLV2Head": _gflv2,
    "RetinaHead": _retina,
    "VFNetHead": _vfnet,
}


def build_backbone(config):
    model = MODELS.build(config)
    assign(model, "backbone.")
    model.eval()  # mmdetection's returns nothing
    return model


def assign(module, prefix=""):
    state = module.state_dict()
    values = {key: torch.from_numpy(weight(prefix + key, value.shape)) for key, value in state.items()}
    module.load_state_dict(values)
