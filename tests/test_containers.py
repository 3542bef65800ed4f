"""The container files against the rest of the checkout. No container is built here."""

import fnmatch
import importlib.metadata
import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*Dockerfile"))
STACKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt") if not path.stem.endswith("-bare"))


def instructions(path):
    """[(instruction, arguments)] of a Dockerfile, its continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    return [line.split(maxsplit=1) for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines() if line.strip()]


def copied(path):
    """What a Dockerfile copies from the checkout, for each stack."""
    for instruction, arguments in instructions(path):
        if instruction == "COPY":
            sources = [word for word in arguments.split()[:-1] if not word.startswith("--")]
            yield from {source.replace("${STACK}", stack) for source in sources for stack in STACKS}


def ignored(source):
    """Whether .dockerignore, whose later lines win, keeps `source` from the builder."""
    result = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!").strip("/")
        parents = [source, *(str(parent) for parent in Path(source).parents)]
        if line and not line.startswith("#") and any(fnmatch.fnmatch(parent, pattern) for parent in parents):
            result = not line.startswith("!")
    return result


def pins(path):
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", path.read_text(), re.MULTILINE))


def test_two_dockerfiles_and_two_stacks():
    assert [path.name for path in DOCKERFILES] == ["Dockerfile", "serving.Dockerfile"]
    assert STACKS == ["2.15", "latest"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_reaches_the_builder(path):
    sources = sorted(copied(path))
    assert sources
    for source in sources:
        # An export is the user's; what is in it, tests/serving checks.
        assert source.startswith("saved_models/${MODEL}/") or (ROOT / source).exists(), source
        assert not ignored(source), source


def test_what_is_not_copied_stays_out():
    assert ignored("runs/mine/checkpoint") and ignored(".git") and ignored("gfl_tf/ops/__pycache__")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_containers_do_not_run_as_root(path):
    users = [arguments for instruction, arguments in instructions(path) if instruction == "USER"]
    assert users == ["1000:1000"]


def test_the_default_command_is_a_command():
    commands = {entry.name for entry in importlib.metadata.entry_points(group="console_scripts")}
    cmd = dict(instructions(ROOT / "docker" / "Dockerfile"))["CMD"]
    assert json.loads(cmd)[0] in commands


@pytest.mark.parametrize("stack", STACKS)
def test_a_lock_of_cuda_for_each_stack(stack):
    locked = (ROOT / f"docker/cuda-{stack}.txt").read_text()
    names = re.findall(r"^([^ #=]+)==", locked, re.MULTILINE)
    assert len(names) == 12 and all(name.startswith("nvidia-") for name in names)
    assert locked.count("==") == 12 and locked.count("--hash=sha256:") >= 12


def test_the_lock_of_cuda_is_what_the_locked_tensorflow_asks_for():
    """Of the stack that runs the tests, whose TensorFlow says what it needs."""
    version = importlib.metadata.version("tensorflow")
    stack = "2.15" if version.startswith("2.15.") else "latest"
    if pins(ROOT / f"requirements/{stack}.txt")["tensorflow"] != version:
        pytest.skip(f"TensorFlow {version} is not the locked one")
    locked = pins(ROOT / f"docker/cuda-{stack}.txt")
    wanted = [Requirement(line) for line in importlib.metadata.requires("tensorflow") if "nvidia-" in line]
    assert {canonicalize_name(requirement.name) for requirement in wanted} == set(locked)
    for requirement in wanted:
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), "run docker/lock_cuda"


def test_the_dev_container_calls_targets_of_the_makefile():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    config = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    command, *targets = config["postCreateCommand"].split()
    assert command == "make"
    for target in targets:
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
