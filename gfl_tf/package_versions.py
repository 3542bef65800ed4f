"""Which versions are at work."""

import importlib.metadata
import platform
import sys

import tensorflow as tf


def versions() -> dict[str, str]:
    """{name: version} of what decides how a model is computed and written."""
    package = sys.modules[__name__.partition(".")[0]]  # gfl_tf; its modules cannot import it, as it imports them
    return {
        "gfl_tf": package.__version__,
        "tensorflow": tf.__version__,  # of whichever package, such as tensorflow-cpu
        **{name: importlib.metadata.version(name) for name in ("keras", "keras_cv", "numpy")},
        "python": platform.python_version(),
    }
