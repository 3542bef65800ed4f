"""The page of a review, in a browser."""

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data.coco import load_coco
from gfl_tf.evaluation.review import KINDS, Finding
from gfl_tf.visualization import review_page

pytestmark = pytest.mark.one_stack

FINDINGS = [
    Finding(0, "edges", 0.9, "left edge 6 px outside the 95% interval", 0, (10.0, 10.0, 60.0, 60.0), 0),
    Finding(0, "missing", 0.5, "<dog> is found with a score of 0.50, and not annotated", None, (0, 0, 20, 20), 1),
    Finding(0, "spurious", 0.4, "nothing is found here", 0),
    Finding(0, "spurious", 0.3, "not among the most important", 0),
]


@pytest.fixture
def path(tmp_path):
    Image.fromarray(np.zeros([100, 120, 3], np.uint8)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 100, "width": 120}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [16, 10, 44, 50]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "<dog>"}],
    }
    dataset = load_coco(content, tmp_path)
    review_page.write(tmp_path / "index.html", dataset, FINDINGS, 3, KINDS, ["The images <were> trained on."])
    return tmp_path / "index.html"


def test_content(path):
    page = path.read_text()
    assert page.count("<img") == 3 and "not among" not in page
    assert "1. edges</b> cat" in page and "2. missing</b> &lt;dog&gt;" in page
    assert "The images &lt;were&gt; trained on." in page
    row = "<tr><td>spurious</td><td>nothing is found where an object is annotated</td><td>1</td><td>2</td></tr>"
    assert row in page.replace("\n", "")


def test_opens_in_a_browser(path, browser_page):
    browser_page.goto(path.as_uri())
    widths = browser_page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert widths == [300, 300, 300]
