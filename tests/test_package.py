"""What must hold for the package as a whole: its layers, its imports, its set-up."""

import ast
import graphlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[1]

# A module imports from its own folder and from folders of lower rows, never from a neighbour in its row.
ROWS = [
    {"rules"},
    {
        "compat",
        "config_files",
        "detections",
        "field_rules",
        "files",
        "package_versions",
        "parts",
        "quiet",
        "stacks",
        "texts",
    },
    {"ops"},
    {"layers", "losses"},  # losses below boxes, whose distributions have a loss of their own
    {"backbones", "necks", "heads", "boxes", "scores", "assigners"},
    {"detectors"},
    {"checkpoints"},  # below build, which starts backbones from published files
    {"backbone_weights"},
    {"detector_weights"},
    {"build"},
    {"data"},
    {"evaluation"},
    {"visualization"},  # below training, which shows drawn detections in TensorBoard
    {"dataset_check", "description"},
    {"training", "serving"},
    {"ablation", "comparison"},
    {"commands"},
    {"__init__"},
]
RANK = {folder: rank for rank, row in enumerate(ROWS) for folder in row}

INTERNALS = r"\bkeras(?:_cv|_core)?\.src\b|\btensorflow\.python\b"


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "gfl_tf").rglob("*.py"))}
SOURCES = [path for folder in ("gfl_tf", "bin", "configs") for path in sorted((ROOT / folder).rglob("*"))]
SOURCES = [path for path in SOURCES if path.is_file() and "__pycache__" not in path.parts]


def folder_of(module):
    return (module.split(".") + ["__init__"])[1]


def imports_of(name, modules=None):
    """The modules of gfl_tf that module `name` imports, anywhere in its source, functions included."""
    modules = MODULES if modules is None else modules
    package = name.split(".") if modules[name].name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(modules[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            prefix = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join(prefix + ([node.module] if node.module else []))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.update({full if full in modules else base} & set(modules))
    return found


def test_every_folder_has_a_place_in_the_order():
    assert {folder_of(name) for name in MODULES} <= set(RANK)


def test_every_folder_is_a_package():
    missing = {path.parent for path in MODULES.values() if not (path.parent / "__init__.py").exists()}
    assert not missing, "setup.py leaves these folders out of an installation"


def test_imports_go_down_only():
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        for other in imports_of(name)
        if folder_of(other) != folder_of(name) and RANK[folder_of(other)] >= RANK[folder_of(name)]
    ]
    assert not wrong


def test_no_import_cycles():
    graphlib.TopologicalSorter({name: imports_of(name) - {name} for name in MODULES}).prepare()


def test_imports_are_seen_in_every_form(tmp_path):
    source = tmp_path / "here.py"
    source.write_text(
        "import gfl_tf.a.b\nfrom gfl_tf.a import c\nfrom . import d\nfrom ..a.e import f\n"
        "def g():\n    from gfl_tf import h\n"
    )
    others = dict.fromkeys(["gfl_tf", "gfl_tf.a.b", "gfl_tf.a.c", "gfl_tf.z.d", "gfl_tf.a.e"], tmp_path)
    modules = {**others, "gfl_tf.z.here": source}
    assert imports_of("gfl_tf.z.here", modules) == set(others)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_file(path):
    source = path.read_text()
    lines = source.count("\n")
    limit = 80 if path.parent.name == "bin" else 400
    assert lines <= limit, f"{lines} lines, more than {limit}"
    internals = re.findall(INTERNALS, source, re.MULTILINE)
    assert not internals, "not public API; Keras itself is `from tensorflow import keras`"


IMPORT_IS_QUICK_AND_CHANGES_NOTHING = """
import logging, os, sys, threading, warnings
def state():
    loggers = {name: vars(logger).get("level") for name, logger in logging.root.manager.loggerDict.items()}
    return dict(os.environ), list(warnings.filters), loggers, logging.root.level, list(sys.path), sys.meta_path[:]
before = state()
import gfl_tf
gfl_tf.__version__, dir(gfl_tf)
assert state() == before
assert not {"tensorflow", "keras", "keras_cv", "numpy", "absl"} & set(sys.modules), "too early"
"""


def run_python(program, *arguments, **environment):
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, *arguments, "-c", program]
    return subprocess.run(command, env={**env, **environment}, cwd=ROOT, capture_output=True, text=True)


def test_import_is_quick_and_changes_nothing():
    result = run_python(IMPORT_IS_QUICK_AND_CHANGES_NOTHING)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_names_and_folders_come_when_they_are_used():
    program = """
import sys, gfl_tf
assert gfl_tf.losses.quality_focal_loss
assert "keras_cv" not in sys.modules and "gfl_tf.detectors" not in sys.modules, "losses stand alone"
assert gfl_tf.layers.DeformableConv2D and gfl_tf.backbones.ResNet
assert gfl_tf.checkpoints.load_mmdet and gfl_tf.compat
from gfl_tf import *
assert GFL and GFLV2 and VFNet and ATSS and FCOS and RetinaNet and build_detector and __version__
assert callable(GFL) and Detector and PredictionDecoder and gfl_tf.boxes and gfl_tf.scores and gfl_tf.assigners
assert set(gfl_tf.__all__) <= set(dir(gfl_tf))
assert "tensorflow_addons" not in sys.modules
try:
    gfl_tf.GFLV3
except AttributeError as error:
    assert "GFLV3" in str(error)
else:
    raise AssertionError
"""
    result = run_python(program, TF_CPP_MIN_LOG_LEVEL="3")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


@pytest.mark.parametrize("version", [(3, 9), (3, 14), (2, 7)])
@pytest.mark.parametrize("command", ["setup.py", "pip install", "make"])
def test_unsupported_python_is_refused_before_anything_happens(command, version, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.version_info = {version} + (0, 'final', 0)\n")
    arguments = {
        "setup.py": [sys.executable, "setup.py", "--version"],
        "pip install": [sys.executable, "-c", "import setup; setup.get_requires_for_build_wheel()"],
        "make": ["make", "test", f"ENVS={tmp_path}", f"PYTHON={sys.executable}"],
    }[command]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(arguments, env=env, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "gfl_tf needs Python 3.10, 3.11, 3.12 or 3.13" in result.stderr
    assert f"is Python {version[0]}.{version[1]}" in result.stderr
    assert "Traceback" not in result.stderr and {path.name for path in tmp_path.iterdir()} == {"sitecustomize.py"}


def test_a_stack_that_is_not_there_is_refused():
    result = subprocess.run(["make", "test", "STACK=2.16"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0 and "it is latest or 2.15" in result.stderr


def requirements(*extras):
    """What the metadata of gfl_tf asks for, with these extras, by name."""
    asked = [Requirement(text) for text in importlib.metadata.requires("gfl_tf")]
    environments = [{"extra": extra} for extra in ("", *extras)]
    return [asks for asks in asked if not asks.marker or any(asks.marker.evaluate(env) for env in environments)]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("stack", ["2.15", "latest"])
def test_locks_satisfy_the_metadata(stack, python):
    if stack == "2.15" and python > "3.11":
        pytest.skip("TensorFlow 2.15 is built for Python up to 3.11")
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.1"}
    pins = {}
    for line in (ROOT / "requirements" / f"{stack}.txt").read_text().splitlines():
        if re.match(r"\w", line):
            pin = Requirement(line.removesuffix("\\"))
            if pin.marker is None or pin.marker.evaluate(environment):
                pins[pin.name.lower().replace("_", "-")] = str(pin.specifier).removeprefix("==")
    for asks in requirements("dev", "onnx", "safetensors", *{"2.15": ["tf215"], "latest": ["tflite", "hub"]}[stack]):
        name = asks.name.lower().replace("_", "-")
        assert asks.specifier.contains(pins[name]), f"{asks} against {name}=={pins[name]}"


@pytest.mark.parametrize("stack", ["2.15", "latest"])
def test_every_pin_has_hashes(stack):
    for file in (f"{stack}.txt", f"{stack}-bare.txt"):
        lines = [line for line in (ROOT / "requirements" / file).read_text().splitlines() if not line.startswith("#")]
        pins = [index for index, line in enumerate(lines) if "==" in line.split(";")[0] and not line.startswith(" ")]
        assert pins and all(lines[index + 1].lstrip().startswith("--hash=sha256:") for index in pins)
