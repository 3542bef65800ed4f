"""The page about a run, of a tiny detector with random weights: what it holds, and in a browser."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from gfl_tf.training import final_page
from gfl_tf.training.evaluate_run import evaluate_run
from gfl_tf.training.run_dir import RunDirectory

pytestmark = pytest.mark.one_stack

NAMES = ("circle", "<i>square</i>", "star's & co")


@pytest.fixture(scope="module")
def page(tiny_run, tmp_path_factory):
    """Path of the page of an evaluation on two images, one of them without an object."""
    folder = tmp_path_factory.mktemp("page")
    run = shutil.copytree(tiny_run, folder / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"]["class_names"] = NAMES
    (run / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    for number in range(2):
        Image.fromarray(rng.integers(0, 256, [96, 160, 3], np.uint8)).save(folder / f"{number}.png")
    content = {
        "images": [{"id": number, "file_name": f"{number}.png", "height": 96, "width": 160} for number in range(2)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 2, "bbox": [10, 10, 40, 40]}],
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(NAMES)],
    }
    (folder / "a.json").write_text(json.dumps(content))
    result, _, _ = evaluate_run(
        run, annotations=folder / "a.json", images=folder, output=folder / "out", report=folder / "report"
    )
    assert 2 <= len(result.detections) <= 40
    return folder / "report" / "index.html"


def test_page_loads_nothing_and_escapes_names(page):
    text = page.read_text()
    loaded = re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)\)|@import""", text)
    assert all((one or other).startswith(("data:", "#")) for one, other in loaded)
    assert "<i>" not in text and "&lt;i&gt;square&lt;/i&gt;" in text
    for name in ("Scores", "Worst images", "Most confident mistakes", "Reliability of scores", "AP75"):
        assert name in text
    assert {path.name for path in page.parent.iterdir()} == {"index.html"}


def test_boxes_carry_their_distributions(page):
    """Each whole picture has all detections of its image, each with four distributions."""
    detections = re.findall(r"data-detection='([^']*)'", page.read_text())
    assert detections
    for detection in map(json.loads, detections):
        assert [edge["side"] for edge in detection["edges"]] == ["left", "top", "right", "bottom"]
        assert all(abs(sum(edge["probabilities"]) - 1) < 0.01 for edge in detection["edges"])
        assert detection["state"] in ("right", "false")


def test_in_a_browser(page, browser_page):
    """From its file: a click and Enter on a box show its distributions, Escape hides them; in light and in dark."""
    browser_page.goto(page.as_uri())
    for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 28)")):
        browser_page.emulate_media(color_scheme=scheme)
        assert browser_page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
        _open_and_close(browser_page)


def _open_and_close(opened):
    panel, box = opened.locator("#panel"), opened.locator(".picture .detection").last
    assert not panel.is_visible()
    box.focus()
    opened.keyboard.press("Enter")
    assert panel.is_visible() and panel.locator("svg.edge").count() == 4
    assert panel.locator(".bar").count() >= 4 and "left" in panel.inner_text()
    opened.keyboard.press("Escape")
    assert not panel.is_visible()
    assert opened.evaluate("document.activeElement.classList.contains('detection')")
    box.click()
    assert panel.locator("h2").inner_text().startswith(box.get_attribute("aria-label").split(", score")[0])
    panel.get_by_role("button", name="Close").click()
    assert not panel.is_visible()


class _Said(list):
    """In place of `Progress`."""

    def say(self, text):
        self.append(text)

    def draw(self, done, total, text):
        pass


class _Stop:
    signal = None


@pytest.fixture
def run_and_config(tiny_run, tmp_path):
    run = RunDirectory(shutil.copytree(tiny_run, tmp_path / "run"))
    return run, run.read_config()


def test_a_run_without_validation_has_a_page_too(run_and_config):
    run, config = run_and_config
    said = _Said()
    final_page.write(run, config, None, said, _Stop())
    text = run.report_page.read_text()
    assert "the run has no validation data" in text and 'id="scores"' not in text and "num_bins" in text
    assert str(run.report_page) in said[0]


def test_a_page_that_cannot_be_written_is_no_error(run_and_config, caplog):
    run, config = run_and_config
    run.report_page.parent.write_text("no folder")
    final_page.write(run, config, None, _Said(), _Stop())
    assert "could not be written" in caplog.text and str(run.report_page.parent) in caplog.text


def test_the_page_can_be_left_out(run_and_config):
    run, config = run_and_config
    config.train.report_page = False
    final_page.write(run, config, None, _Said(), _Stop())
    assert not run.report_page.exists()


def test_a_request_to_stop_leaves_the_page_out(run_and_config, monkeypatch):
    run, config = run_and_config

    def evaluate(model, dataset, batch_size, scale, progress):
        stop.signal = 2
        progress(1, 9)

    monkeypatch.setattr(final_page.run_dir, "load_run", lambda *arguments: (None, None))
    monkeypatch.setattr(final_page.trust, "evaluate", evaluate)
    said, stop = _Said(), _Stop()
    final_page.write(run, config, "data", said, stop)
    assert "left out" in said[0] and not run.report_page.exists()
