"""Packaging of gfl_tf. The check of the Python version runs in any Python, and before anything is downloaded."""

import sys

if not (3, 9) <= sys.version_info[:2] <= (3, 11):
    sys.exit(
        "gfl_tf needs Python 3.9, 3.10 or 3.11, for which TensorFlow 2.15 is built; %s is Python %d.%d. "
        "Install Python 3.11 and use it, for example: make test PYTHON=/path/to/python3.11"
        % ((sys.executable,) + tuple(sys.version_info[:2]))
    )

INSTALL_REQUIRES = [
    "tensorflow==2.15.1",
    "keras-cv==0.9.0",
    "tensorflow-addons==0.23.0",
    "numpy>=1.23.5,<2",
    "pycocotools>=2.0.7",
    "absl-py>=1.4",
    "ml_collections>=0.1.1",
    "Pillow>=10.1",  # the first whose built-in font has sizes
    "tensorflow-serving-api==2.15.1",  # the protos of an export's warm-up requests
    # Needed by keras-cv through tensorflow-datasets; 1.17 imports a protobuf newer than TensorFlow 2.15 allows.
    "tensorflow-metadata>=1.15,<1.17",
    # TensorBoard 2.15 imports pkg_resources, which setuptools 82 no longer has and 80.9 warns about.
    "setuptools<80.9",
]

EXTRAS_REQUIRE = {
    "gpu": ["tensorflow[and-cuda]==2.15.1"],
    # onnx 1.18 and later import a newer ml_dtypes than TensorFlow 2.15 allows.
    "onnx": ["tf2onnx>=1.16", "onnx>=1.14,<1.18", "onnxruntime>=1.16"],
    "dev": ["pytest>=7", "pytest-xdist>=3.3", "ruff>=0.4"],
}

if __name__ == "__main__":
    import re
    from pathlib import Path

    from setuptools import find_packages, setup

    setup(
        name="gfl_tf",
        version=re.search('__version__ = "(.+)"', Path("gfl_tf/__init__.py").read_text()).group(1),
        description="Dense object detectors GFL, GFLv2 and VarifocalNet for TensorFlow and Keras",
        license="Apache-2.0",
        packages=find_packages(include=["gfl_tf", "gfl_tf.*"]),
        python_requires=">=3.9,<3.12",
        install_requires=INSTALL_REQUIRES,
        extras_require=EXTRAS_REQUIRE,
    )
