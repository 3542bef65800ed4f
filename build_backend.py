"""The build backend of pip install: setuptools', behind the Python check of setup.py.

pip downloads setuptools only after `get_requires_for_build_*`, so an unsupported Python stops before any download.
"""

import setup  # noqa: F401  exits with a message when Python is unsupported


def get_requires_for_build_wheel(config_settings=None):
    return ["setuptools>=64,<81", "wheel"]


def _hook_of_setuptools(name):
    def hook(*args, **kwargs):
        from setuptools import build_meta

        return getattr(build_meta, name)(*args, **kwargs)

    return hook


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel
build_wheel = _hook_of_setuptools("build_wheel")
build_editable = _hook_of_setuptools("build_editable")
build_sdist = _hook_of_setuptools("build_sdist")
