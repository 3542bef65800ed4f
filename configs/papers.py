"""Rows of the papers' tables: ResNet-50, COCO 2017, 12 epochs.

    gfl-train --config=papers:gfl_1a/atss/iou_branch --run_dir=runs/iou_branch \
        --config.data.train_annotations=COCO/annotations/instances_train2017.json \
        --config.data.train_images=COCO/train2017 \
        --config.data.val_annotations=COCO/annotations/instances_val2017.json --config.data.val_images=COCO/val2017

Behind the colon stands TABLE/ROW, or the detector alone that rows start from (papers:atss). `gfl_tf/ablation/tables.py`
has all rows with the figures that the papers print; docs/ablate.md trains a table in small. None was trained on COCO by
us. Training downloads ImageNet weights; for a file of yours: --config.model.backbone.weights=FILE.pth.
"""

from gfl_tf.ablation import tables
from gfl_tf.build import RECIPES
from gfl_tf.training.published import published_config


def get_config(row="gfl_3/both"):
    if row in RECIPES:
        return published_config(f"papers_{row}", row, "resnet50")
    found = tables.find_row(row)
    config = published_config(row.replace("/", "_"), found.detector, "resnet50")
    found.apply(config.model)
    return config
