"""Rows of the papers' tables on FCOS, ATSS and RetinaNet: ResNet-50, COCO 2017, 12 epochs.

    gfl-train --config=papers:gfl_1a/atss/iou_branch --run_dir=runs/iou_branch \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Behind the colon stands a row of `ROWS`, TABLE/ROW. None was trained on COCO by us. Training downloads ImageNet weights;
for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.training.published import published_config

FOCAL, QFL, VFL = (dict(name=name) for name in ("focal", "quality_focal", "varifocal"))
PLAIN = dict(name="joint", quality_targets=False, weight_boxes_by="none")  # the score is that of the class alone
JOINT = dict(name="joint")
IOU_BRANCH = dict(name="branch", quality="iou")
GENERAL = dict(name="general")
GENERAL_WITHOUT_DFL = dict(name="general", distribution_weight=0.0)
DGQP = dict(name="dgqp")
WITH_QFL = dict(score=JOINT, classification_loss=QFL)
WITH_GFLV2 = dict(boxes=GENERAL, score=DGQP, classification_loss=QFL, box_weight=2.0)
# ATSS's authors keep the centerness branch beside IoU targets.
SOFT_BRANCH = dict(name="branch", quality_targets=True)
RAW_VFNET = dict(star=False, refine=False)


def rows():
    """{row: (detector, changes to its `config.model`)}."""
    found = {}
    for base in ("fcos", "atss"):
        found[f"gfl_1a/{base}/no_quality"] = base, dict(score=PLAIN)
        found[f"gfl_1a/{base}/centerness_branch"] = base, {}
        found[f"gfl_1a/{base}/iou_branch"] = base, dict(score=IOU_BRANCH)
        found[f"gfl_1a/{base}/centerness_guided"] = base, dict(score={**PLAIN, "guided": "centerness"})
        found[f"gfl_1a/{base}/iou_guided"] = base, dict(score={**PLAIN, "guided": "iou"})
        found[f"gfl_1a/{base}/joint"] = base, WITH_QFL
        found[f"gfl_2a/{base}/dirac"] = base, {}
        found[f"gfl_2a/{base}/gaussian"] = base, dict(boxes=dict(name="gaussian"))
        found[f"gfl_2a/{base}/general"] = base, dict(boxes=GENERAL_WITHOUT_DFL)
        found[f"gfl_2a/{base}/general_dfl"] = base, dict(boxes=GENERAL)
    joint_targets = dict(name="joint", weight_boxes_by="none")
    found["gfl_1b/retinanet"] = "retinanet", {}
    found["gfl_1b/retinanet_qfl"] = "retinanet", dict(score=joint_targets, classification_loss=QFL)
    for beta in (0.0, 1.0, 2.0, 2.5, 4.0):
        found[f"gfl_1c/{beta:g}"] = "atss", dict(score=JOINT, classification_loss={**QFL, "beta": beta})
    for bins in (12, 14, 16, 18):
        found[f"gfl_2b/{bins}"] = "gfl", dict(boxes=dict(name="general", num_bins=bins))
    for width in (0.5, 1.0, 2.0, 4.0):
        found[f"gfl_2c/{width:g}"] = "gfl", dict(boxes=dict(name="general", num_bins=int(16 / width), bin_width=width))
    found["gfl_3/neither"] = "atss", {}
    found["gfl_3/qfl"] = "atss", WITH_QFL
    found["gfl_3/dfl"] = "atss", dict(boxes=GENERAL)
    found["gfl_3/both"] = "gfl", {}
    for base in ("retinanet", "fcos", "atss"):
        found[f"gflv2_5/{base}"] = base, {}
        found[f"gflv2_5/{base}_gflv2"] = base, WITH_GFLV2
    found["vfnet_3/fcos_atss"] = "fcos", dict(assigner=dict(name="atss"), grid=dict(offset=0.0), box_weight=2.0)
    hard = dict(
        score=dict(name="joint", quality_targets=False, weight_boxes_by="iou"),
        classification_loss=FOCAL,
        assigner=dict(name="atss"),
    )
    found["vfnet_3/focal"] = "vfnet", dict(head=RAW_VFNET, **hard)
    found["vfnet_3/vfl"] = "vfnet", dict(head=RAW_VFNET)
    found["vfnet_3/star"] = "vfnet", dict(head=dict(refine=False))
    found["vfnet_3/star_refine"] = "vfnet", {}
    for name, loss in (("fl", FOCAL), ("gfl", QFL), ("vfl", VFL)):
        soft = {} if name == "fl" else dict(classification_loss=loss)
        found[f"vfnet_5/retinanet_{name}"] = "retinanet", {**soft, **({"score": joint_targets} if soft else {})}
        found[f"vfnet_5/atss_{name}"] = "atss", {**soft, **({"score": SOFT_BRANCH} if soft else {})}
    return found


ROWS = rows()


def get_config(row="gfl_3/both"):
    if row not in ROWS:
        raise ValueError(f"papers has no row {row!r}; choose one of {', '.join(sorted(ROWS))}")
    detector, changes = ROWS[row]
    config = published_config(row.replace("/", "_"), detector, "resnet50")
    change_model(config.model, changes)
    return config


def change_model(model, changes):
    """Fields of a part, or with a name the whole part."""
    for field, value in changes.items():
        if isinstance(value, dict) and "name" not in value:
            model[field].update(value)
        else:
            model[field] = value
