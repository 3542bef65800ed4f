"""bin/export through its command line: killed, twice at once, other formats, with flags that are wrong."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from gfl_tf.evaluation import original_pixels
from gfl_tf.training import run_dir

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(*flags):
    return [sys.executable, str(ROOT / "bin" / "export"), *map(str, flags)]


def run(*flags):
    return subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT)


def versions(directory):
    return {path.name for path in directory.iterdir()}


@pytest.fixture(scope="module")
def trained(tiny_run, tmp_path_factory):
    """Path of a run whose last weights are others than its best, with an evaluation of the best."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    shutil.copytree(tiny_run, path)
    run = run_dir.RunDirectory(path)
    run.evaluation.mkdir(exist_ok=True)
    (run.evaluation / "step-00000005.json").write_text(json.dumps({"step": 5, "metrics": {"AP": 0.25}}))
    model, _ = run_dir.load_run(path)
    model.head.classification.bias.assign([0.0, 0.5, 0.0])
    run.save_weights(model, "last")
    return path


@pytest.fixture(scope="module")
def killed(trained, tmp_path_factory):
    """Folder of a model whose first export was killed while it wrote."""
    output = tmp_path_factory.mktemp("saved_models")
    directory = output / "tiny"
    process = subprocess.Popen(
        command(f"--run_dir={trained}", f"--output={output}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    while not list(directory.glob(".exporting-*/version/*")):
        assert process.poll() is None, "the export was over before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return directory


@pytest.mark.one_stack
def test_killed_and_then_two_at_once(killed, trained):
    (hidden,) = versions(killed)
    assert hidden.startswith(".exporting-")
    for old in ("1", "2"):
        (killed / old).mkdir()
        (killed / old / "saved_model.pb").write_text("old")

    flags = [f"--run_dir={trained}", f"--output={killed.parent}", "--keep=2", "--batch_sizes=1"]
    others = ["--checkpoint=last", "--max_detections=3", "--precision=bfloat16", "--freeze", "--on_bad_image=report"]
    others += ["--max_pixels=50000", "--score_threshold=0.2", "--iou_threshold=0.5", "--nms=hard"]
    processes = [
        subprocess.Popen(command(*flags, *more), stdout=subprocess.PIPE, text=True, cwd=ROOT) for more in ([], others)
    ]
    printed = [process.communicate()[0].removesuffix("\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert set(printed) == {str(killed / "3"), str(killed / "4")}
    assert versions(killed) == {"3", "4"}, "what was killed should be gone, and so should older versions"

    plain, other = ({file.stem: json.loads(file.read_text()) for file in assets_of(path)} for path in printed)
    assert plain["config"]["name"] == other["config"]["name"] == "tiny"
    assert plain["evaluation"]["metrics"] == {"AP": 0.25} and other["evaluation"] is None
    assert plain["build"]["options"]["max_pixels"] == 1 << 26 and other["build"]["options"]["max_pixels"] == 50000
    assert all(flag[2:] in flags_of(other["build"]["options"]) for flag in others[1:3] + others[5:])

    variables = [dict(tf.train.list_variables(f"{path}/variables/variables")) for path in printed]
    assert len(variables[0]) > 20 and not any("weights" in name for name in variables[1]), "--freeze leaves variables"
    loaded = tf.saved_model.load(printed[1])
    coarse = np.random.default_rng(0).uniform(0, 255, (5, 6, 3))
    image = tf.saturate_cast(tf.image.resize(coarse, (96, 160), "bicubic"), tf.uint8)
    found = loaded.signatures["serving_default"](tf.stack([b"not an image", tf.io.encode_png(image)]))
    assert found["num_detections"].numpy().tolist() == [0, 3] and found["status"][0] != b"ok"
    scores = found["detection_scores"][1].numpy()
    expected = [scores_of(trained, which, image) for which in ("last", "best")]
    # bfloat16 rounds to 8 bits.
    assert 0 < np.abs(scores - expected[0]).max() < 0.02 < np.abs(scores - expected[1]).max()


def assets_of(path):
    return pathlib.Path(path, "assets.extra").glob("*.json")


def flags_of(options):
    return [f"{name}={value}" for name, value in options.items()]


def scores_of(run, which, image):
    """The best three of what the weights in float32 find."""
    model, config = run_dir.load_run(run, which)
    detect = tf.function(lambda images: original_pixels.detect(model, images, config.data.scale)["confidence"])
    return detect(image[tf.newaxis])[0, :3].numpy()


@pytest.mark.slow
def test_other_formats(tiny_run, tmp_path):
    """All exports find the same, and the table says so; with random weights int8 and a canvas change what is found."""
    (tmp_path / "images").mkdir()
    for seed in range(3):
        coarse = np.random.default_rng(seed).uniform(0, 255, (5, 6, 3))
        image = tf.saturate_cast(tf.image.resize(coarse, (96, 160), "bicubic"), tf.uint8)
        (tmp_path / "images" / f"{seed}.png").write_bytes(tf.io.encode_png(image).numpy())
    of_format = {
        "tiny": [],
        "tiny-tflite": ["--format=tflite", "--canvas=96x160"],
        "int8": ["--format=tflite", "--canvas=96x160", "--precision=int8", "--name=int8"],
        "tiny-onnx": ["--format=onnx"],
    }
    of_format["int8"].append(f"--representative_images={tmp_path / 'images'}")
    for name, flags in of_format.items():
        result = run(f"--run_dir={tiny_run}", f"--output={tmp_path}", *flags)
        assert (result.returncode, result.stdout) == (0, f"{tmp_path / name / '1'}\n"), result.stderr
        assert (tmp_path / name / "1" / "assets.extra" / "class_names.json").is_file()
    compare = [sys.executable, str(ROOT / "bin" / "compare_exports"), f"--images={tmp_path / 'images'}"]
    paths = [str(tmp_path / name / "1") for name in of_format]
    compare += [f"--reference={paths[0]}", f"--candidates={','.join(paths[1:])}"]
    table = subprocess.run(compare, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    found = {row[0]: float(row[4]) for row in rows if row and row[0] in paths}
    assert [found[path] for path in (paths[1], paths[3])] == [100, 100] and found[paths[2]] > 50


@pytest.mark.parametrize(
    ["flags", "message"],
    [
        ([], "--run_dir"),
        (["--run_dir=nowhere"], "nowhere holds no run"),
        (["--run_dir=nowhere", "--keep=-1"], "--keep=-1"),
        (["--run_dir=nowhere", "--on_bad_image=ignore"], "--on_bad_image=ignore"),
        (["--run_dir=nowhere", "--checkpoint=first"], "first"),
    ],
)
def test_wrong_flags(flags, message):
    result = run(*flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
