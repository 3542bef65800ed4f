"""The two stacks of TensorFlow and Keras that gfl_tf runs on, and the check that one of them is installed.

The check reads what pip wrote beside the packages: it imports neither, and takes milliseconds.
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import sys

STACKS = "TensorFlow 2.15 with Keras 2.15, or TensorFlow 2.19 to 2.21 with Keras 3"
OLD, NEWEST = (2, 15), (2, 21)
BETWEEN = [(2, 16), (2, 17), (2, 18)]
INSTALL = 'pip install "tensorflow>=2.19,<2.22", or pip install "tensorflow==2.15.1" on Python 3.10 or 3.11'


def check():
    """Raises ImportError, in one line that says what to do, where gfl_tf cannot run.

    A TensorFlow of another name (tensorflow-cpu, tf-nightly, ...) is believed to be right.
    """
    tensorflow = _version("tensorflow")
    if tensorflow is None:
        if importlib.util.find_spec("tensorflow") is None:
            raise ImportError(f"gfl_tf needs {STACKS}; there is no TensorFlow. Install it: {INSTALL}")
        return
    if not OLD <= tensorflow <= NEWEST or tensorflow in BETWEEN:
        raise ImportError(f"gfl_tf needs {STACKS}; here is TensorFlow {_text(tensorflow)}. Install another: {INSTALL}")
    keras = _version("keras")
    if tensorflow == OLD:
        if keras != OLD:
            raise ImportError(f'TensorFlow 2.15 needs Keras 2.15; here is {_keras(keras)}: pip install "keras==2.15.0"')
        return
    if keras is None or keras < (3, 0):
        raise ImportError(
            f'TensorFlow {_text(tensorflow)} needs Keras 3; here is {_keras(keras)}: pip install "keras>=3,<4"'
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        raise ImportError(
            "TF_USE_LEGACY_KERAS is set: TensorFlow and KerasCV then use Keras 2, but gfl_tf uses the Keras 3 that is "
            "installed. Unset it: unset TF_USE_LEGACY_KERAS"
        )
    backend, source = _backend()
    if backend != "tensorflow":
        raise ImportError(
            f"gfl_tf runs on Keras's TensorFlow backend; {source} says {backend!r}. Before Keras is imported: "
            "export KERAS_BACKEND=tensorflow"
        )


def _version(distribution):
    """(major, minor) of an installed distribution, None where there is none."""
    try:
        text = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _text(version):
    return ".".join(map(str, version))


def _keras(version):
    return f"Keras {_text(version)}" if version else "no Keras"


def _backend():
    """Keras 3's backend, and what sets it."""
    if hasattr(sys.modules.get("keras"), "config"):
        return sys.modules["keras"].config.backend(), "keras.config.backend()"
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    folder = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    file = os.path.join(folder, "keras.json")
    try:
        with open(file) as stream:
            return json.load(stream).get("backend", "tensorflow"), file
    except (OSError, ValueError, AttributeError):  # as Keras does, which then takes its default
        return "tensorflow", file
