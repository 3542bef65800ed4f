"""Diagrams whose form depends on the detector; the others are drawn in tests/training/test_analyze_run.py."""

import pytest
from matplotlib.figure import Figure

from gfl_tf.visualization import analysis_diagrams

pytestmark = pytest.mark.one_stack


def bars_of(qualities):
    rows = [{"replaced": name, "quality": quality, "AP": 0.5} for name in ("nothing", "boxes") for quality in qualities]
    axes = Figure().subplots()
    analysis_diagrams.oracles(axes, {"rows": rows})
    return axes


@pytest.mark.parametrize("qualities, legend", [(("used", "left out"), True), (("none",), False)])
def test_oracles_with_and_without_a_quality(qualities, legend):
    axes = bars_of(qualities)
    assert len(axes.patches) == 2 * len(qualities) and all(bar.get_width() == 50 for bar in axes.patches)
    assert (axes.get_legend() is not None) == legend
    assert [label.get_text() for label in axes.get_yticklabels()] == ["nothing", "boxes"]
