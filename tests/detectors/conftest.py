"""Small detectors for the tests of this folder."""

import pytest

from tests.tiny import build_tiny


@pytest.fixture(scope="session")
def build():
    return build_tiny
