"""gfl-benchmark through its command line."""

import pytest

from tests.bin.conftest import command  # noqa: F401  (a fixture)

pytestmark = pytest.mark.one_stack


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--only=fast"], "--only has 'fast'; choose among limit, forward, "),
        (["--sizes=640"], "--sizes has '640'; give 2 numbers"),
        (["--sizes=100x128"], "--sizes has 100x128; give multiples of 32"),
        (["--precision=int4"], "--precision has 'int4'; choose among float32, bfloat16"),
        (["--config=small", "--run_dir=runs/mine"], "name one of --config=NAME and --run_dir=RUN"),
        (["--suite=huge"], "--suite=huge: value should be one of"),
        (["--repeats=1"], "--repeats"),
        (["--run_dir=nowhere"], "nowhere holds no run"),
    ],
)
def test_wrong_flags(command, flags, message):  # noqa: F811
    result = command("benchmark", *flags)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr
