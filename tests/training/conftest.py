from pathlib import Path

import pytest

from gfl_tf.config_files import load_config

CONFIG_FILE = Path(__file__).with_name("tiny.py")


@pytest.fixture(scope="session")
def shapes_directory(tmp_path_factory):
    return tmp_path_factory.mktemp("shapes")


@pytest.fixture
def tiny_config(shapes_directory):
    """A fresh config of a run of 10 steps in 2 epochs."""
    config = load_config(CONFIG_FILE)
    config.data.directory = str(shapes_directory)
    return config
