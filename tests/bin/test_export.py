"""bin/export through its command line, and what it writes in a Python that has TensorFlow alone."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.data import images as image_ops
from gfl_tf.training import run_dir

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Answers the images of argv[2:] with the SavedModel argv[1], in JSON: for bare Pythons.
CLIENT = """
import importlib.util, json, sys
for name in ("gfl_tf", "keras_cv", "tensorflow_addons"):
    assert importlib.util.find_spec(name) is None, name
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

proto = saved_model_pb2.SavedModel.FromString(open(sys.argv[1] + "/saved_model.pb", "rb").read())
graph = proto.meta_graphs[0].graph_def
nodes = list(graph.node) + [node for function in graph.library.function for node in function.node_def]
functions = {function.signature.name for function in graph.library.function}
unknown = sorted({node.op for node in nodes if not hasattr(tf.raw_ops, node.op)} - functions)

loaded = tf.saved_model.load(sys.argv[1])
variables = sorted(variable.name for variable in loaded.weights)
encoded = [open(path, "rb").read() for path in sys.argv[2:]]
outputs = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
first = tf.io.decode_image(encoded[0], channels=3, expand_animations=False)
of_tensor = loaded.signatures["image_tensor"](image_tensor=first[tf.newaxis])
print(json.dumps({
    "unknown_ops": unknown,
    "variables": variables,
    "outputs": {name: value.numpy().tolist() for name, value in outputs.items()},
    "of_tensor": {name: value.numpy().tolist() for name, value in of_tensor.items()},
}))
"""


def command(*flags):
    return [sys.executable, str(ROOT / "bin" / "export"), *map(str, flags)]


def run(*flags):
    return subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT)


def contents(directory):
    """{path: bytes} of all files below a folder."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """The path of version 1, made after an export that was killed."""
    output = tmp_path_factory.mktemp("saved_models")
    directory = output / "tiny"
    process = subprocess.Popen(
        command(f"--run_dir={tiny_run}", f"--output={output}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    while not list(directory.glob(".exporting-*/version/*")):
        assert process.poll() is None, "the export was over before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not [path for path in directory.iterdir() if path.name.isdecimal()]

    result = run(f"--run_dir={tiny_run}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(directory / "1")
    return directory / "1"


def test_exports_at_once(exported, tiny_run):
    before = contents(exported)
    flags = (f"--run_dir={tiny_run}", f"--output={exported.parents[1]}", "--checkpoint=last", "--max_detections=3")
    processes = [subprocess.Popen(command(*flags), stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    printed = {process.communicate()[0].splitlines()[-1] for process in processes}
    assert printed == {str(exported.parent / "2"), str(exported.parent / "3")}
    assert contents(exported) == before
    for version in ("1", "2", "3"):
        assert (exported.parent / version / "saved_model.pb").is_file()
    loaded = tf.saved_model.load(str(exported.parent / "3"))
    outputs = loaded.signatures["serving_default"].structured_outputs
    assert outputs["detection_boxes"].shape.as_list() == [None, 3, 4]


def test_bare_tensorflow_finds_what_predict_finds(exported, tiny_run, bare_python, tmp_path):
    model, config = run_dir.load_run(tiny_run)
    rng = np.random.default_rng(0)
    images, paths = [], []
    for height, width in ((120, 200), (97, 51)):
        image = tf.image.resize(rng.uniform(0, 255, (6, 7, 3)), (height, width), "bicubic")
        images.append(tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8))
        paths.append(str(tmp_path / f"{height}.png"))
        tf.io.write_file(paths[-1], tf.io.encode_png(images[-1]))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    client = [bare_python, "-c", CLIENT, str(exported), *paths]
    result = subprocess.run(client, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["unknown_ops"] == []
    assert len(answer["variables"]) == len(model.trainable_variables) + len(
        [weight for layer in model.backbone.layers for weight in layer.non_trainable_weights]
    )
    outputs = {name: np.asarray(value) for name, value in answer["outputs"].items()}
    for row, image in enumerate(images):
        resized = image_ops.resize_keep_ratio(image, config.data.scale)
        expected = model.predict(resized[tf.newaxis], verbose=0)
        count = int(expected["num_detections"][0])
        assert count > 0 and outputs["num_detections"][row] == count
        height, width = image.shape[:2]
        scale = np.tile([width / resized.shape[1], height / resized.shape[0]], 2)
        boxes = np.minimum(expected["boxes"][0] * scale, np.tile([width, height], 2))[:count]
        np.testing.assert_allclose(outputs["detection_boxes"][row, :count], boxes[:, [1, 0, 3, 2]], atol=1e-2)
        np.testing.assert_allclose(outputs["detection_scores"][row, :count], expected["confidence"][0, :count], 1e-4)
        np.testing.assert_array_equal(outputs["detection_classes"][row, :count], expected["classes"][0, :count])
        np.testing.assert_allclose(
            outputs["detection_edge_stddev"][row, :count], expected["edge_stddev"][0, :count] * scale, 1e-4
        )
    for name, value in answer["of_tensor"].items():
        np.testing.assert_allclose(value[0], outputs[name][0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--run_dir"),
        (["--run_dir=nowhere"], "nowhere holds no run"),
        (["--run_dir=nowhere", "--checkpoint=first"], "first"),
    ],
)
def test_wrong_flags(flags, message):
    result = run(*flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
