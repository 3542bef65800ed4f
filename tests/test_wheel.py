"""The wheel, built and installed where the checkout is out of reach: it does what `make train` does, in small."""

import json
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("gfl_tf", "configs", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")


def run(command, folder, **environment):
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")}
    env.update(environment)
    done = subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the source distribution, as package indexes have them."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "checkout").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "checkout" / name)
    build = "import setup, sys; print(setup.build_{}(sys.argv[1]))"
    run([sys.executable, "-c", build.format("sdist"), folder], folder / "checkout")
    (source,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(source, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    run([sys.executable, "-c", build.format("wheel"), folder], unpacked)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of an environment that has the wheel, and the requirements from the environment of the tests."""
    venv = tmp_path_factory.mktemp("wheel") / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", venv], venv.parent)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], venv.parent)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    # Python does not look for .pth files in there, so the checkout, which may be installed like that, stays out.
    (site_packages / "requirements.pth").write_text("\n".join(site.getsitepackages()))
    return venv / "bin"


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        metadata = archive.read(next(name for name in files if name.endswith(".dist-info/METADATA"))).decode()
    names = {name for name in files if ".dist-info/" not in name}
    checkout = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gfl_tf").rglob("*.py")}
    configs = {f"gfl_tf/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").glob("*.py")}
    templates = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "gfl_tf" / "visualization" / "templates").iterdir()
    }
    assert names == checkout | configs | templates | {"gfl_tf/py.typed"}
    assert "Requires-Python: <3.14,>=3.10" in metadata and "License-Expression: Apache-2.0" in metadata


def test_it_works_alone(installed, tmp_path):
    where = run([installed / "python", "-c", "import gfl_tf; print(gfl_tf.__file__)"], tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(installed.parent) and not where.stderr
    small = [
        "--config.data.shapes.num_train=16", "--config.data.shapes.num_val=4", "--config.train.epochs=1",
        "--config.train.evaluate_every=1", "--config.train.sample_images=0", "--config.train.warmup_steps=0",
    ]  # fmt: skip
    run([installed / "gfl-train", "--config=gflv2_shapes", "--run_dir=run", *small], tmp_path)
    assert (tmp_path / "run" / "report" / "index.html").is_file()  # its templates came along
    run([installed / "gfl-predict", "--run_dir=run", "--images=data/shapes/val", "--output=pictures"], tmp_path)
    assert len(json.loads((tmp_path / "pictures" / "predictions.json").read_text())["images"]) == 4
    exported = run([installed / "gfl-export", "--run_dir=run"], tmp_path)
    assert (tmp_path / exported.stdout.strip() / "saved_model.pb").is_file() and not exported.stderr
    scores = run([installed / "gfl-evaluate", "--run_dir=run"], tmp_path)
    assert "4 images" in scores.stdout
    assert all(" coco.py:" in line for line in scores.stderr.splitlines()), scores.stderr  # how many images it reads


def test_a_script_of_ones_own(installed, tmp_path):
    program = """
import keras, gfl_tf
model = gfl_tf.build_detector("gflv2_shapes")
model.save("model.keras")
assert "gflv2_r50_fpn_1x" in gfl_tf.config_files.names()
"""
    run([installed / "python", "-c", program], tmp_path, TF_CPP_MIN_LOG_LEVEL="3")
    program = """
import keras, gfl_tf  # this is enough for Keras to know the classes
assert type(keras.models.load_model("model.keras")) is gfl_tf.Detector
"""
    run([installed / "python", "-c", program], tmp_path, TF_CPP_MIN_LOG_LEVEL="3")
