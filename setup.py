"""The build backend: setuptools', behind a check of the Python version. What is built, pyproject.toml says.

The check runs in any Python and before anything is downloaded: pip asks `get_requires_for_build_*` first. Make runs it
too.
"""

import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        "gfl_tf needs Python 3.10, 3.11, 3.12 or 3.13; %s is Python %d.%d. "
        "Install Python 3.13 and use it, for example: make test PYTHON=/path/to/python3.13"
        % ((sys.executable,) + tuple(sys.version_info[:2]))
    )


def get_requires_for_build_wheel(config_settings=None):
    return ["setuptools>=77"]  # the first that knows the licence by its SPDX name


def _hook_of_setuptools(name):
    def hook(*args, **kwargs):
        from setuptools import build_meta

        return getattr(build_meta, name)(*args, **kwargs)

    return hook


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel
build_wheel = _hook_of_setuptools("build_wheel")
build_editable = _hook_of_setuptools("build_editable")
build_sdist = _hook_of_setuptools("build_sdist")

if __name__ == "__main__":
    from setuptools import find_packages, setup

    setup(
        packages=find_packages(include=["gfl_tf", "gfl_tf.*"]) + ["gfl_tf.configs"],
        package_dir={"gfl_tf.configs": "configs"},
    )
