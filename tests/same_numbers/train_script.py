"""Trains each of CASES for 20 steps and prints a line of JSON for each: what both stacks must agree in. Run by
test_same_numbers.py with the Pythons of both.

    python train_script.py OUTPUT [--resume FOLDER] [CASE ...]

OUTPUT/CASE is the run directory. With --resume it starts as a copy of FOLDER/CASE at its checkpoint of step 8.
"""

import json
import pathlib
import shutil
import sys
import zlib

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gfl_tf.build import build_detector, default_model
from gfl_tf.checkpoints import weight_file
from gfl_tf.config_files import load_config
from gfl_tf.data import shapes
from gfl_tf.training import fit, run_dir

TINY = pathlib.Path(__file__).parents[1] / "training" / "tiny.py"
RESUMED_STEP = 8
RESNET = dict(name="reference_resnet", weights="", freeze_batch_norm=False)
YOLO = dict(
    name="yolo_v8",
    arguments=dict(stackwise_channels=(8, 8, 16, 32), stackwise_depth=(1, 1, 1, 1), include_rescaling=True),
    weights="",
    freeze_batch_norm=False,
)
# name: (detector, backbone, fields of config.train, precision, strategy)
CASES = {
    "sgd_clip_norm_eval_frozen": (
        "gfl",
        {**RESNET, "arguments": dict(depth=18, frozen_stages=1, norm_eval=True)},
        dict(optimizer="sgd", clip_norm=5.0, bias_learning_rate_factor=2.0, decay_bias=False),
        "float32",
        "one_device",
    ),
    "adamw_ema": ("gflv2", YOLO, dict(optimizer="adamw", ema_momentum=0.9, decay_norm=False), "float32", "one_device"),
    "sgd_swa": ("vfnet", YOLO, dict(optimizer="sgd", swa_epochs=2, swa_bn_batches=2), "float32", "one_device"),
    "sgd_two_replicas": ("atss", YOLO, dict(optimizer="sgd", clip_norm=1.0), "float32", "mirrored"),
    "adamw_ema_two_replicas": (
        "gflv2",
        YOLO,
        dict(optimizer="adamw", clip_norm=1.0, ema_momentum=0.9),
        "float32",
        "mirrored",
    ),
    "mixed_bfloat16": ("gflv2", YOLO, dict(optimizer="sgd", clip_norm=5.0), "mixed_bfloat16", "one_device"),
    "mixed_float16": ("gflv2", YOLO, dict(optimizer="sgd", clip_norm=5.0), "mixed_float16", "one_device"),
}


def config_of(case, data, weights=""):
    detector, backbone, train, precision, _ = CASES[case]
    config = load_config(TINY)
    config.name, config.precision = case, precision
    config.model = model = default_model(detector)
    model.backbone, model.weights = backbone, weights
    model.num_classes = len(shapes.CLASS_NAMES)
    if backbone["name"] == RESNET["name"]:
        model.mean, model.std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    model.neck.channels = 16
    model.head.update(channels=16, num_convs=1, groups=4)
    model.decoder.update(score_threshold=0.001, max_detections=20)  # 20 steps make no score high
    config.data.source = "coco"  # with no validation data
    config.data.train_annotations, config.data.train_images = map(str, data)
    config.train.update(
        epochs=5 - train.get("swa_epochs", 0), learning_rate=0.002, warmup_steps=2, log_every=1, keep_checkpoints=5,
        milestones=() if "swa_epochs" in train else (3,), **train,
    )  # fmt: skip
    config.train.swa_learning_rate = 0.002
    return config


def assign_by_name(model):
    """Weights that depend on their names and the values they have at the start alone, so that a layer can learn."""
    for name, variable in weight_file.named_variables(model).items():
        value = variable.numpy()
        if value.ndim > 1:
            drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=value.shape)
            fan_in = np.prod(value.shape[:-1])
            variable.assign((drawn / np.sqrt(fan_in)).astype(value.dtype))


def main(output, *arguments):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    output, cases = pathlib.Path(output), list(arguments)
    resumed = None
    if cases[:1] == ["--resume"]:
        resumed, cases = pathlib.Path(cases[1]), cases[2:]
    data = shapes.write_shapes(output / "shapes", num_train=16, num_val=1, image_size=(64, 64))["train"]
    for case in cases or CASES:
        directory = output / case
        if resumed:
            copy_at_step(resumed / case, directory)
            config = None
        else:
            weights = output / f"{case}-initial.npz"
            model = build_detector(config_of(case, data))
            assign_by_name(model)
            arrays = {name: variable.numpy() for name, variable in weight_file.named_variables(model).items()}
            weight_file.save_arrays(arrays, weights)
            config = config_of(case, data, str(weights))
        fit.train(config, directory, CASES[case][-1])
        result = {"case": case, "losses": losses(directory), "kept": norms(directory / "last.npz")}
        result["found"] = detections(directory)
        print(json.dumps(result), flush=True)


def copy_at_step(source, target):
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("logs", "best.npz", "last.npz"))
    for file in (target / "checkpoints").glob("ckpt-*"):
        if file.stem != f"ckpt-{RESUMED_STEP}":
            file.unlink()


def losses(directory):
    """{step: loss} of those that this process made."""
    events = EventAccumulator(str(directory / "logs"), size_guidance={"tensors": 0}).Reload()
    return {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("train/loss")}


def detections(directory):
    """{name: list} of what the weights that a run has kept find in a random image."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    model, _ = run_dir.load_run(directory, "last")
    return {name: value.numpy().tolist() for name, value in model.detect(image).items()}


def norms(weights):
    with np.load(weights) as arrays:
        return {name: float(np.linalg.norm(value.astype(np.float64))) for name, value in arrays.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
