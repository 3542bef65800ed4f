"""What must hold for the package as a whole: its layers, its imports, its set-up."""

import ast
import graphlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]

# A module imports from its own folder and from folders of lower rows, never from a neighbour in its row.
ROWS = [
    {"ops"},
    {"layers", "losses", "assigners"},
    {"backbones", "necks", "heads"},
    {"detectors"},
    {"checkpoints"},  # below build, which starts backbones from published files
    {"build"},
    {"data"},
    {"evaluation"},
    {"visualization"},  # below training, which shows drawn detections in TensorBoard
    {"training", "serving"},
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


def test_import_is_quiet_and_leaves_addons_alone():
    program = "import sys, gfl_tf; assert 'tensorflow_addons' not in sys.modules"
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run([sys.executable, "-c", program], env=env, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("version", [(3, 8), (3, 12)])
@pytest.mark.parametrize("command", ["setup.py", "pip install", "make"])
def test_unsupported_python_is_refused_before_anything_happens(command, version, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.version_info = {version} + (0, 'final', 0)\n")
    venv = tmp_path / "venv"
    arguments = {
        "setup.py": [sys.executable, "setup.py", "--version"],
        "pip install": [sys.executable, "-c", "import build_backend"],
        "make": ["make", "test", f"VENV={venv}", f"BARE={venv}", f"PYTHON={sys.executable}"],
    }[command]
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(arguments, env=env, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "gfl_tf needs Python 3.9, 3.10 or 3.11" in result.stderr
    assert f"is Python {version[0]}.{version[1]}" in result.stderr
    assert "Traceback" not in result.stderr and not venv.exists()


def test_pins_satisfy_setup():
    pins = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        pin = Requirement(line) if line and not line.lstrip().startswith("#") else None
        if pin and (pin.marker is None or pin.marker.evaluate()):
            pins[pin.name.lower().replace("_", "-")] = str(pin.specifier).removeprefix("==")
    setup = runpy.run_path(str(ROOT / "setup.py"))
    wanted = setup["INSTALL_REQUIRES"] + setup["EXTRAS_REQUIRE"]["dev"] + setup["EXTRAS_REQUIRE"]["onnx"]
    for requirement in map(Requirement, wanted):
        name = requirement.name.lower().replace("_", "-")
        assert requirement.specifier.contains(pins[name]), f"{requirement} against {name}=={pins[name]}"
