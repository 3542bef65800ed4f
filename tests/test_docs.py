"""What the pages in docs/ say of the rest of the project."""

import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_stack

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def packages():
    requirements = PROJECT["dependencies"] + [line for extra in EXTRAS.values() for line in extra]
    return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}


def test_each_package_has_its_licence():
    page = (ROOT / "docs" / "licenses.md").read_text()
    rows = re.findall(r"^\| ([\w-]+) \| (?:always|extra)", page, re.MULTILINE)
    assert set(rows) == packages() and len(rows) == len(set(rows))


def test_each_file_of_weights_has_its_licence():
    from gfl_tf.training.published import BACKBONES

    page = (ROOT / "docs" / "licenses.md").read_text()
    for address in (backbone.weights for backbone in BACKBONES.values()):
        folder, file = address.removeprefix("https://").rsplit("/", 1)
        assert f"`{file}`" in page and f"`{folder}`" in page, address


def test_each_row_of_published_models_is_on_its_page():
    """With the AP that the row has: those of a line stand in its order."""
    models = runpy.run_path(str(ROOT / "configs" / "published.py"))["MODELS"]
    rows = re.findall(r"^\| (`\w.*`) \| .* \| (.*) \|$", (ROOT / "docs" / "published.md").read_text(), re.MULTILINE)
    found = {}
    for names, numbers in rows:
        found.update(zip(re.findall(r"`([^`]+)`", names), re.findall(r"\d\d\.\d", numbers), strict=True))
    assert {name: re.search(r"\d\d\.\d", model.reported)[0] for name, model in models.items()} == {
        name: found.get(name) for name in models
    }


def test_each_extra_and_command_is_on_the_page_about_installing():
    page = (ROOT / "docs" / "install.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(EXTRAS)
    assert set(re.findall(r"`(gfl-[a-z-]*[a-z])`", page)) == set(PROJECT["scripts"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
