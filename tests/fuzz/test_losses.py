"""Classification and distribution losses: finite and not negative, with finite gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfl_tf import losses
from tests.fuzz import values

pytestmark = pytest.mark.one_stack

SHAPE = (values.COUNT, 3)
LOSSES = {
    "focal": lambda power: lambda *inputs: losses.focal_loss(*inputs, gamma=power),
    "quality_focal": lambda power: lambda *inputs: losses.quality_focal_loss(*inputs, beta=power),
    "varifocal": lambda power: lambda *inputs: losses.varifocal_loss(*inputs, gamma=power),
}
logits = values.arrays(SHAPE, -200, 200)
powers = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 5.0])


@pytest.mark.parametrize("name", LOSSES)
@given(target=values.arrays(SHAPE, 0, 1), logits=logits, power=powers, order=values.orders())
def test_classification_losses(name, target, logits, power, order):
    function = LOSSES[name](power)
    loss = values.check_finite(lambda logits: function(target, logits), logits)
    assert loss.shape == SHAPE and (loss >= 0).all()
    # An element's sigmoid is rounded by its place in a vector; near the target a root makes 1e-7 of it 3e-4.
    np.testing.assert_allclose(function(target[order], logits[order]), loss[order], rtol=1e-5, atol=5e-4)


@pytest.mark.parametrize("name", LOSSES)
@given(
    target=values.arrays(SHAPE, 0, 1),
    logits=logits,
    quality=values.arrays((values.COUNT, 1), -200, 200),
    power=powers,
)
def test_losses_of_a_product(name, target, logits, quality, power):
    function = LOSSES[name](power)
    loss = values.check_finite(lambda logits, quality: function(target, logits, quality), logits, quality)
    assert (loss >= 0).all()


@given(target=values.arrays((values.COUNT,), -2, 8), logits=values.arrays((values.COUNT, 5), -200, 200))
def test_distribution_focal_loss(target, logits):
    loss = values.check_finite(lambda logits: losses.distribution_focal_loss(target, logits), logits)
    assert (loss >= 0).all()
