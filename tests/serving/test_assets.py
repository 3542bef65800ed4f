"""The JSON files that an export carries."""

import datetime
import json
import subprocess
import sys

import ml_collections
import pytest
import tensorflow as tf

from gfl_tf.serving import assets


def read(directory, name):
    return json.loads((directory / "assets.extra" / f"{name}.json").read_text(encoding="utf-8"))


def test_what_was_given(tmp_path):
    config = ml_collections.ConfigDict({"name": "cells", "data": {"scale": (640, 480), "flip": 0.5}})
    evaluation = {"file": "evaluation/step-00000008.json", "step": 8, "metrics": {"AP": 0.25}}
    options = {"precision": "bfloat16", "score_threshold": None}
    assets.write(tmp_path, ("Zelle", "Blutplättchen"), config.to_dict(), evaluation, options)
    assert {path.name for path in (tmp_path / "assets.extra").iterdir()} == {
        "class_names.json", "config.json", "evaluation.json", "uncertainty.json", "build.json"
    }  # fmt: skip
    assert read(tmp_path, "class_names") == ["Zelle", "Blutplättchen"]
    assert read(tmp_path, "config") == {"name": "cells", "data": {"scale": [640, 480], "flip": 0.5}}
    assert read(tmp_path, "evaluation") == evaluation
    assert read(tmp_path, "uncertainty") == {"calibrated": False, "levels": []}
    assert read(tmp_path, "build")["options"] == options


def test_for_people_to_read(tmp_path):
    assets.write(tmp_path, ["Blutplättchen"], {"b": 1, "a": 2}, None, {})
    directory = tmp_path / "assets.extra"
    assert (directory / "class_names.json").read_text(encoding="utf-8") == '[\n  "Blutplättchen"\n]\n'
    assert (directory / "config.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
    assert (directory / "evaluation.json").read_text() == "null\n"


def test_what_the_export_was_made_with(tmp_path):
    before = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    assets.write(tmp_path, [], None, None, {})
    build = read(tmp_path, "build")
    assert list(build) == ["exported_at", "source", "versions", "options"]
    exported_at = datetime.datetime.strptime(build["exported_at"], "%Y-%m-%dT%H:%M:%SZ")
    age = exported_at.replace(tzinfo=datetime.timezone.utc) - before
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert set(build["versions"]) == {"gfl_tf", "tensorflow", "keras", "keras_cv", "numpy", "python"}
    assert build["versions"]["tensorflow"] == tf.__version__
    assert build["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert all(build["versions"].values())


@pytest.fixture
def package(tmp_path):
    """A package in a git checkout, with a README beside it, all committed."""
    directory = tmp_path / "package"
    directory.mkdir()
    (directory / "__init__.py").touch()
    (tmp_path / "README.md").touch()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--no-verify", "-m", "first")
    return directory


def git(directory, *arguments):
    done = subprocess.run(["git", "-C", str(directory), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_revision_of_the_source(package):
    revision = git(package, "rev-parse", "HEAD")
    assert len(revision) == 40
    assert assets.source_revision(package) == {"git_revision": revision, "dirty": False}
    (package.parent / "README.md").write_text("changed")
    assert assets.source_revision(package) == {"git_revision": revision, "dirty": False}
    (package / "new.py").touch()
    assert assets.source_revision(package) == {"git_revision": revision, "dirty": True}
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("changed = True")
    assert assets.source_revision(package) == {"git_revision": revision, "dirty": True}


def test_no_revision_of_what_only_lies_in_a_checkout(package, tmp_path, monkeypatch):
    unknown = {"git_revision": None, "dirty": None}
    installed = package.parent / "site-packages" / "other"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert assets.source_revision(installed) == unknown
    monkeypatch.setenv("PATH", str(tmp_path))
    assert assets.source_revision(package) == unknown
