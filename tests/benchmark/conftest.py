"""A benchmark that takes seconds: a tiny detector, and a machine whose limit is measured on next to nothing."""

import pytest

from gfl_tf.benchmark import artifacts, machine
from gfl_tf.benchmark.bench import Bench, Settings
from tests.bin.conftest import TINY_CONFIG


@pytest.fixture
def small_limits(monkeypatch):
    for name in ("ROWS", "COLUMNS", "CHANNELS", "SIDE"):
        monkeypatch.setattr(machine, name, 4)
    monkeypatch.setattr(machine, "COPIED_BYTES", 64)
    machine.parts.cache_clear()
    yield
    machine.parts.cache_clear()


@pytest.fixture(scope="session")
def tiny_artifact():
    return artifacts.of_config(str(TINY_CONFIG))


@pytest.fixture
def bench(small_limits, tiny_artifact):
    settings = Settings(sizes=((64, 64),), batch_sizes=(1,), boxes=3, repeats=2)
    return Bench(settings, [tiny_artifact])
