"""docs/configuration.md is what the classes say."""

import difflib
import importlib.util
from pathlib import Path

import pytest

from gfl_tf import build
from gfl_tf.data import augmentations
from gfl_tf.training import config as configs

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "configuration.md"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_configuration", DOCS / "make_configuration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_classes_say(maker):
    stated, wanted = PAGE.read_text().splitlines(), maker.page().splitlines()
    if stated != wanted:
        difference = "\n".join(difflib.unified_diff(stated, wanted, "the page", "the classes", n=0, lineterm=""))
        pytest.fail(f"docs/configuration.md is not what the classes say: run `{maker.COMMAND}`\n{difference}", False)


def test_every_field_has_a_meaning(maker):
    missing = [f"{part}: {name}" for part, fields in maker.documented().items() for name in fields if not fields[name]]
    assert not missing, (
        "say what these are: in the docstring of the class, under Attributes: or Args:, or in a comment behind the "
        "field in gfl_tf/training/fields.py or gfl_tf/build.py"
    )


def test_no_field_is_left_out(maker):
    documented = maker.documented()
    assert set(documented["data"]) == set(configs.default_data())
    assert set(documented["train"]) == set(configs.default_train())
    for detector in build.RECIPES:
        model = build.default_model(detector)
        for field, value in model.items():
            if field in build.PARTS:
                part = f"{field}, {value.name}" if "name" in value else field
                assert set(value) - {"name"} == set(documented[part]), f"{detector}: {part}"
            elif field != "backbone":
                assert field in documented["model"]
    page = PAGE.read_text()
    for name in [*build.BACKBONES, *augmentations.OPERATIONS]:
        assert f"`{name}`" in page or f"#### {name}\n" in page, name


def test_lines_are_no_longer_than_the_rest():
    assert max(map(len, PAGE.read_text().splitlines())) <= 120


def test_a_comment_is_behind_its_field_or_above_it(maker, tmp_path, monkeypatch):
    source = """
import ml_collections


def fields():
    found = ml_collections.ConfigDict()
    found.behind = 1  # of this
    # Of two lines,
    # both above.
    found.above = 2
    found.none = 3
    found.inner = dict(
        first=1,  # of the first
        second=2,
    )
    return found
"""
    (tmp_path / "commented.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import commented

    assert maker._comments(commented.fields) == {
        "behind": "of this",
        "above": "Of two lines, both above.",
        "none": "",
        "inner": "",
        "inner.first": "of the first",
        "inner.second": "",
    }


def test_an_entry_of_a_docstring_ends_where_the_next_begins(maker):
    docstring = """What it is.

    Attributes:
        one, two: of both,
            on two lines.
        three: alone.

    Raises:
        ValueError: no entry.
    """
    assert maker._docstring_entries(docstring) == [(["one", "two"], "of both, on two lines."), (["three"], "alone.")]
