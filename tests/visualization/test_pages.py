import base64
import io

import numpy as np
import pytest
from PIL import Image

from gfl_tf.visualization import diagrams, pages

pytestmark = pytest.mark.one_stack


def draw(axes):
    axes.plot([0, 1], [0, 2], label="AP")
    axes.set_xlabel("steps <of all>")
    axes.legend()


def test_values_are_escaped():
    assert "&lt;b&gt;" in pages.render("base.html", title="<b>")


def test_template_without_a_value_is_an_error():
    with pytest.raises(Exception, match="title"):
        pages.render("base.html")


def test_page_is_written_whole(tmp_path):
    pages.write(tmp_path / "page.html", "base.html", title="Run")
    assert "<h1>Run</h1>" in (tmp_path / "page.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_diagram_of_a_page_has_its_colours_and_text_and_no_name_twice():
    one = diagrams.svg(draw, "AP & more")
    assert one == diagrams.svg(draw, "AP & more")
    assert 'aria-label="AP &amp; more"' in one and "steps &lt;of all&gt;" in one
    assert "currentColor" in one and "#010203" not in one and 'id="figure_1"' not in one
    for name in [part.split(")")[0] for part in one.split("url(#")[1:]]:
        assert f'id="{name}"' in one


def test_png(tmp_path):
    diagrams.write_png(tmp_path / "ap.png", draw, width=2.0, height=1.0)
    assert Image.open(tmp_path / "ap.png").size == (300, 150)


def test_jpeg_uri():
    uri = pages.jpeg_uri(Image.fromarray(np.full((8, 8, 3), 200, np.uint8)))
    assert Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))).size == (8, 8)
