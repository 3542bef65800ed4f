"""Numbers in the text of a flag."""

import pytest

from gfl_tf.commands import numbers

pytestmark = pytest.mark.one_stack


def test_numbers():
    assert numbers.parse("canvas", "800x1344", "x", 2) == (800, 1344)
    assert numbers.parse("canvas", "", "x", 2) == ()
    assert numbers.parse("batch_sizes", "1,2,16", ",") == (1, 2, 16)


@pytest.mark.parametrize("text", ["800", "1333x", "1333x800x3", "-5x4", "0x5", "a", "ax5", "1,2"])
def test_wrong_sizes(text):
    with pytest.raises(ValueError, match=f"--sizes has '{text}'; give 2 numbers from 1 on with 'x' between them"):
        numbers.parse("sizes", text, "x", 2)


@pytest.mark.parametrize("text", ["1,,2", "0,1", "a", "-1"])
def test_wrong_lists(text):
    with pytest.raises(ValueError, match=f"--batch_sizes has '{text}'; give whole numbers from 1 on"):
        numbers.parse("batch_sizes", text, ",")
