"""Backbones that no published detector here has, against the reference implementation: features C2 to C5."""

from pathlib import Path

import keras
import numpy as np
import pytest

import gfl_tf
from gfl_tf.backbones.res2net import Res2Net
from gfl_tf.backbones.resnet import ResNet
from gfl_tf.checkpoints import mmdet
from gfl_tf.heads.tower_head import TowerHead
from gfl_tf.necks.fpn import FPN
from tests.parity import compare, inputs

pytestmark = pytest.mark.one_stack

HERE = Path(__file__).parent
# By file of data/: see generate.py.
BACKBONES = {
    "resnet50_dcnv2": lambda: ResNet(50, deformable_stages=("C3", "C4", "C5"), deformable_version=2),
    "resnext101_32x8d": lambda: ResNet(101, groups=32, base_width=8),
    "resnext101_64x4d": lambda: ResNet(101, groups=64, base_width=4),
    "resnext101_32x4d_dcnv2": lambda: ResNet(101, 32, 4, deformable_stages=("C4", "C5"), deformable_version=2),
    "res2net101": lambda: Res2Net(101),
}
TOLERANCE = 1e-4  # of a level's range


@pytest.mark.parametrize("name", BACKBONES)
def test_features(name):
    reference = dict(np.load(HERE / "data" / f"{name}.npz"))
    backbone = BACKBONES[name]()
    # Weights go into whole detectors; all but the backbone stays as it is.
    head = TowerHead(1, box_outputs=8, channels=32, num_convs=0)
    detector = gfl_tf.GFL(backbone, 1, "xyxy", head=head, neck=FPN(channels=32), num_bins=1)
    report = mmdet.assign(detector, compare.weights_by_name(reference), partial=True)
    assert report.unused == () and not [entry for entry in report.fresh if entry.startswith("backbone.")]

    batch = compare.Batch(inputs.images(), inputs.CANVAS, inputs.IMAGE_SHAPES, {})
    images = (batch.padded_images(inputs.MEAN) - inputs.MEAN) / inputs.STD
    levels = [backbone.get_layer(layer).output for layer in backbone.pyramid_level_inputs.values()]
    features = keras.Model(backbone.inputs, levels)(images)
    for stage, step, feature in zip(("C2", "C3", "C4", "C5"), reference["feat_step"], features):
        feature = feature.numpy().reshape(2, -1, feature.shape[-1])
        expected, stats = reference[f"feat/{stage}"], reference[f"feat_stats/{stage}"]
        assert compare.map_difference(feature, feature[:, ::step, ::3], expected, stats) < TOLERANCE, stage
