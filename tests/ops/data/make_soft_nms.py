"""Wrote soft_nms.npz beside it, with mmcv 2.1.0 on CPU, which the tests do not need.

    python make_soft_nms.py ../../../../shared/reference/ops.npz

"boxes" [400, 4], "scores" and "labels" [400] are the random ones of that file; "KIND/keep" and "KIND/scores" are what
mmcv's soft-NMS with the settings `KINDS` makes of them, best first. "_agnostic": boxes of all classes together.
"""

import pathlib
import sys

import numpy as np
import torch
from mmcv.ops.nms import batched_nms

KINDS = {
    "linear065": dict(method="linear", iou_threshold=0.65, min_score=1e-3),
    "linear03": dict(method="linear", iou_threshold=0.3, min_score=1e-3),
    "linear03_agnostic": dict(method="linear", iou_threshold=0.3, min_score=0.05),
    "gaussian05": dict(method="gaussian", sigma=0.5, min_score=1e-3),
    "gaussian03": dict(method="gaussian", sigma=0.3, min_score=1e-3),
    "gaussian03_agnostic": dict(method="gaussian", sigma=0.3, min_score=0.05),
}

reference = np.load(sys.argv[1])
inputs = {name: reference[f"nms/{name}"] for name in ("boxes", "scores", "labels")}
arrays = {**inputs, "labels": inputs["labels"].astype(np.int32)}
for kind, settings in KINDS.items():
    detections, keep = batched_nms(
        *(torch.from_numpy(inputs[name]) for name in ("boxes", "scores", "labels")),
        {"type": "soft_nms", **settings},
        class_agnostic=kind.endswith("agnostic"),
    )
    arrays[f"{kind}/keep"] = keep.numpy().astype(np.int32)
    arrays[f"{kind}/scores"] = detections[:, 4].numpy()
np.savez_compressed(pathlib.Path(__file__).with_name("soft_nms.npz"), **arrays)
