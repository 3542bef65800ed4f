"""Which TensorFlow and Keras are refused, and how."""

import importlib.metadata
import json
import sys

import pytest

from gfl_tf import stacks


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """installed(tensorflow, keras): as if these versions were there, None for nothing."""
    for name in ("KERAS_BACKEND", "TF_USE_LEGACY_KERAS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras", raising=False)

    def install(tensorflow, keras):
        versions = {"tensorflow": tensorflow, "keras": keras}

        def version(name):
            if versions[name] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(stacks.importlib.metadata, "version", version)

    return install


def refusal():
    with pytest.raises(ImportError) as error:
        stacks.check()
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


def test_this_stack_is_accepted():
    stacks.check()


@pytest.mark.parametrize(
    "tensorflow, keras", [("2.15.1", "2.15.0"), ("2.19.1", "3.5.0"), ("2.20.0", "3.10.0"), ("2.21.0", "3.15.1")]
)
def test_accepted(installed, tensorflow, keras):
    installed(tensorflow, keras)
    stacks.check()


@pytest.mark.parametrize("tensorflow", ["1.15.0", "2.14.1", "2.16.1", "2.17.0", "2.18.1", "2.22.0rc1", "3.0.0"])
def test_other_tensorflow(installed, tensorflow):
    installed(tensorflow, "3.5.0")
    message = refusal()
    assert f"here is TensorFlow {tensorflow[:4].rstrip('.')}" in message and 'pip install "tensorflow>=2.19' in message


def test_no_tensorflow(installed, monkeypatch):
    installed(None, None)
    monkeypatch.setattr(stacks.importlib.util, "find_spec", lambda name: None)
    assert "there is no TensorFlow. Install it: pip install" in refusal()


def test_tensorflow_of_another_name(installed):
    installed(None, None)  # tensorflow-cpu, say: the module is there
    stacks.check()


@pytest.mark.parametrize("keras, named", [("3.5.0", "Keras 3.5"), (None, "no Keras")])
def test_old_tensorflow_with_other_keras(installed, keras, named):
    installed("2.15.1", keras)
    assert f'here is {named}: pip install "keras==2.15.0"' in refusal()


@pytest.mark.parametrize("keras, named", [("2.15.0", "Keras 2.15"), (None, "no Keras")])
def test_new_tensorflow_with_old_keras(installed, keras, named):
    installed("2.21.0", keras)
    assert f'here is {named}: pip install "keras>=3,<4"' in refusal()


def test_legacy_keras(installed, monkeypatch):
    installed("2.21.0", "3.15.1")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert "unset TF_USE_LEGACY_KERAS" in refusal()
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    stacks.check()


def test_other_backend(installed, monkeypatch, tmp_path):
    installed("2.21.0", "3.15.1")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert "keras.json says 'torch'" in refusal()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    stacks.check()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "KERAS_BACKEND says 'jax'" in refusal()
    installed("2.15.1", "2.15.0")  # Keras 2 has no other
    stacks.check()


def test_unreadable_keras_json_is_keras_default(installed, tmp_path):
    installed("2.21.0", "3.15.1")
    (tmp_path / "keras.json").write_text("{")
    stacks.check()
