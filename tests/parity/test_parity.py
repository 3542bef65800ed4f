"""Whole detectors against the reference implementation: same weights, same images, same numbers.

data/ holds what mmdetection computes with weights that depend on their names alone (weights.py) on the batch of
inputs.py; generate.py made it and says how. Of the four ResNet-50 models ../shared/reference has complete outputs on
another batch, where it is there.
"""

from pathlib import Path

import keras
import numpy as np
import pytest

from gfl_tf import config_files
from gfl_tf.build import build_detector
from gfl_tf.checkpoints import mmdet, places
from tests.parity import compare, inputs

HERE = Path(__file__).parent
# config: the file of ../shared/reference.
SHARED = {
    "gfl_r50_fpn_1x": "gfl_r50_fpn",
    "gflv2_r50_fpn_1x": "gfocal_r50_fpn",
    "atss_r50_fpn_1x": "atss_r50_fpn",
    "vfnet_r50_fpn_1x": "vfnet_r50_fpn",
}
DETECTORS = [
    *SHARED,
    "gfl_r101_fpn_ms2x",
    "gfl_r101_fpn_dconv_c3-c5_ms2x",
    "gfl_x101_32x4d_fpn_ms2x",
    "gfl_x101_32x4d_fpn_dconv_c4-c5_ms2x",
    "gflv2_r101_fpn_ms2x",
    "gflv2_r101_fpn_dcn_ms2x",
    "gflv2_x101_32x4d_fpn_dcn_ms2x",
    "gflv2_r2_101_fpn_dcn_ms2x",
    "atss_r101_fpn_1x",
    "vfnet_r50_fpn_mdconv_c3-c5_ms2x",
    "vfnet_r101_fpn_1x",
    "vfnet_r101_fpn_mdconv_c3-c5_ms2x",
    "vfnet_x101_32x4d_fpn_ms2x",
    "vfnet_x101_32x4d_fpn_mdconv_c3-c5_ms2x",
    "vfnet_x101_64x4d_fpn_ms2x",
    "vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x",
    "vfnet_r2_101_fpn_ms2x",
    "vfnet_r2_101_fpn_mdconv_c3-c5_ms2x",
    "vfnetx_r2_101_fpn_mdconv_c3-c5",
    "fcos_r50_caffe_fpn_gn-head_1x",
    "fcos_r101_caffe_fpn_gn-head_1x",
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x",
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x",
    "retinanet_r50_fpn_1x",
    "retinanet_r101_fpn_1x",
    "retinanet_x101_32x4d_fpn_1x",
    "retinanet_x101_64x4d_fpn_1x",
    "atss_vfl_r50_fpn_1x",
    "ld_r18_gflv1_r101_fpn_1x",
    "ld_r34_gflv1_r101_fpn_1x",
]
# Their parts, or parts that differ in width alone, are in other models of the list: these are in `make test-slow`.
SLOW = {
    "gfl_r101_fpn_ms2x",
    "gfl_x101_32x4d_fpn_ms2x",
    "gflv2_r101_fpn_ms2x",
    "gflv2_r101_fpn_dcn_ms2x",
    "gflv2_x101_32x4d_fpn_dcn_ms2x",
    "gflv2_r2_101_fpn_dcn_ms2x",
    "atss_r101_fpn_1x",
    "vfnet_r101_fpn_1x",
    "vfnet_r101_fpn_mdconv_c3-c5_ms2x",
    "vfnet_x101_32x4d_fpn_ms2x",
    "vfnet_x101_32x4d_fpn_mdconv_c3-c5_ms2x",
    "vfnet_x101_64x4d_fpn_ms2x",
    "vfnet_x101_64x4d_fpn_mdconv_c3-c5_ms2x",
    "vfnet_r2_101_fpn_ms2x",
    "vfnet_r2_101_fpn_mdconv_c3-c5_ms2x",
    "fcos_r101_caffe_fpn_gn-head_1x",
    "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_dcn_1x",
    "retinanet_r101_fpn_1x",
    "retinanet_x101_32x4d_fpn_1x",
    "retinanet_x101_64x4d_fpn_1x",
    "atss_vfl_r50_fpn_1x",
    "ld_r34_gflv1_r101_fpn_1x",
}
OUTPUT_TOLERANCE = 1e-4  # of a level's range
LOSS_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3, 5  # relative, or so many times the reference's own float32 noise


def build(name, reference):
    """The detector of a config with weights by their names, and {the reference's parameter: our variable}."""
    has_file = name in config_files.names()
    model = build_detector(name if has_file else f"published:{name}", load_weights=False)
    mmdet.assign(model, compare.weights_by_name(reference))
    modules = mmdet.detector_modules(model)
    return model, {place.names[0]: place.variable for module in modules for place in places.places_of(*module)}


def marks(name):
    """Four models on both stacks, which compute the same (tests/same_numbers); the others on one."""
    return [pytest.mark.slow] if name in SLOW else [] if name in SHARED else [pytest.mark.one_stack]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=marks(name)) for name in DETECTORS])
def detector(request):
    """(name, run on the batch of inputs.py, reference values, {the reference's parameter: our variable})."""
    name = request.param
    reference = dict(np.load(HERE / "data" / f"{name}.npz"))
    model, variables = build(name, reference)
    truth = {case: inputs.ground_truth(case) for case in inputs.CASES}
    batch = compare.Batch(inputs.images(), inputs.CANVAS, inputs.IMAGE_SHAPES, truth)
    yield name, compare.Run(model, batch), reference, variables
    keras.backend.clear_session()


@pytest.fixture(scope="module")
def shared_run(detector, shared):
    """(run, reference values) on the batch of ../shared/reference."""
    name, run, _, _ = detector
    given = np.load(shared / "reference" / "inputs.npz")
    truth = {}
    for case, with_boxes in inputs.CASES.items():
        keeps = [slice(None) if image in with_boxes else slice(0) for image in (0, 1)]
        truth[case] = [(given[f"gt{image}"][keep], given[f"labels{image}"][keep]) for image, keep in enumerate(keeps)]
    batch = compare.Batch([given["image0"], given["image1"]], given["batch_hw"], given["img_shapes"], truth)
    return compare.Run(run.model, batch), dict(np.load(shared / "reference" / f"{SHARED[name]}.npz"))


def test_inputs_are_those_of_the_extracts():
    assert inputs.checksum(inputs.images()) == inputs.CHECKSUM


def check_outputs(run, reference):
    differences = compare.output_differences(run, reference)
    assert {key: value for key, value in differences.items() if not value < OUTPUT_TOLERANCE} == {}


def check_losses(run, reference):
    differences = compare.loss_differences(run, reference)
    assert len(differences) == 3 * len(run.losses["main"].keys() - {"num_positives", "mean_iou"})  # of three cases
    assert {key: value for key, value in differences.items() if not value < LOSS_TOLERANCE} == {}


def check_gradients(run, reference, variables):
    differences = compare.gradient_differences(run, reference, variables)
    relative, times_noise = GRADIENT_TOLERANCE
    assert {
        name: (difference, noise)
        for name, (difference, noise) in differences.items()
        if not difference < max(relative, times_noise * noise)
    } == {}
    # What the reference trains, and nothing else: the frozen stage is.
    trained = {id(variables[name]) for name in reference["grad/main/names"]}
    assert trained == {id(variable) for variable in run.model.trainable_variables}


def check_detections(run, reference):
    for settings in compare.SETTINGS:
        for rule in compare.RULES:
            if f"{settings}/{rule}/img0/labels" in reference:
                assert compare.detection_faults(run, reference, settings, rule) == []


def test_outputs(detector):
    _, run, reference, _ = detector
    check_outputs(run, reference)


def test_losses(detector):
    _, run, reference, _ = detector
    check_losses(run, reference)


def test_gradients(detector):
    _, run, reference, variables = detector
    check_gradients(run, reference, variables)


def test_detections(detector):
    _, run, reference, _ = detector
    check_detections(run, reference)


@pytest.mark.parametrize("detector", SHARED, indirect=True)
def test_shared(shared_run, detector):
    run, reference = shared_run
    check_outputs(run, reference)
    check_losses(run, reference)
    check_gradients(run, reference, detector[3])
    check_detections(run, reference)
