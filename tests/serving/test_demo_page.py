"""The demo's page in a browser, with a stand-in for the model whose answers are known."""

import io
import threading
import types

import pytest
from PIL import Image
from werkzeug import serving

from gfl_tf.serving import demo

pytestmark = pytest.mark.one_stack


def detection(name, index, score, box):
    edges = [4.0, 2.0, 4.0, 2.0]
    return {
        "class": name,
        "class_index": index,
        "score": score,
        "box": box,
        "edge_stddev": edges,
        "edge_interval": [edges, [8.0, 8.0, 8.0, 8.0]],
        "box_interval": [edges, edges],
    }


FOUND = [
    detection("cell", 0, 0.9, [20, 10, 60, 50]),
    detection("<dot>", 1, 0.5, [70, 10, 74, 14]),
    detection("cell", 0, 0.2, [0, 0, 120, 60]),
]


class StandIn(types.SimpleNamespace):
    """An export that finds `FOUND` in images of 120 x 60 pixels that are stored on their side."""

    name, class_names, knows_edges, calibrated, levels = "cells/1", ["cell", "<dot>"], True, True, [0.5, 0.9]

    def answer(self, image):
        return {"detections": FOUND, "width": 120, "height": 60, "orientation": 6, "seconds": 0.1}


def picture():
    """A JPEG of 120 x 60 pixels, red on the left and blue on the right, that EXIF turns: the red to the top."""
    image = Image.new("RGB", (120, 60), (200, 0, 0))
    image.paste((0, 0, 200), (60, 0, 120, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    image.save(content, "JPEG", exif=exif)
    return content.getvalue()


@pytest.fixture(scope="module")
def address():
    server = serving.make_server("127.0.0.1", 0, demo.Demo(StandIn()), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    thread.join()


@pytest.fixture
def page(browser_page, address):
    browser_page.goto(address)
    return browser_page


def choose(page):
    page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": picture()})
    page.wait_for_selector("#boxes g", state="attached")


def count(page, selector):
    return page.locator(selector).count()


def test_boxes_bands_and_list(page):
    choose(page)
    assert count(page, "#boxes g") == count(page, "#labels span") == count(page, "#list li") == 2, "0.2 is below 0.3"
    assert page.inner_text("#status") == "a.jpg: 120 x 60 pixels, 2 of 3 detections shown, found in 0.10 s"
    # One standard deviation to either side: left and right 4, top and bottom 2 pixels.
    band = page.locator("#boxes g").first.locator("path")
    assert band.get_attribute("d") == "M16 8H64V52H16ZM24 12H56V48H24Z"
    row = page.locator("#list li").first
    assert row.locator(".edges span").all_inner_texts() == ["20 ± 4.0", "10 ± 2.0", "60 ± 4.0", "50 ± 2.0"]
    page.select_option("#bands", label="90% interval of each edge")
    assert band.get_attribute("d") == "M12 2H68V58H12ZM28 18H52V42H28Z"
    # Of a box that is smaller than its bands, all is band.
    assert page.locator("#boxes g").last.locator("path").get_attribute("d") == "M62 2H82V22H62Z"
    page.select_option("#bands", label="none")
    assert count(page, "#boxes path") == 0 and "±" not in page.inner_text("#list")


def test_slider_asks_the_server_nothing(page):
    choose(page)
    before = len(page.asked)
    page.focus("#least")
    page.keyboard.press("Home")
    assert count(page, "#boxes g") == count(page, "#list li") == 3
    page.keyboard.press("End")
    assert count(page, "#boxes g") == 0 and "0 of 3 detections shown" in page.inner_text("#status")
    assert len(page.asked) == before


def test_picture_lies_under_its_boxes_as_it_is_stored(page):
    """EXIF would show it upright, 60 x 120, which is not what the model sees."""
    choose(page)
    assert page.is_visible("#turned")
    page.select_option("#bands", label="none")
    frame, box = page.locator("#frame"), page.locator("#boxes g rect").first.bounding_box()
    whole = frame.bounding_box()
    assert whole["width"] / whole["height"] == pytest.approx(2, rel=0.01)
    shown = Image.open(io.BytesIO(frame.screenshot())).convert("RGB")
    for x, colour in ((0.1, (200, 0, 0)), (0.9, (0, 0, 200))):
        pixel = shown.getpixel((int(x * shown.width), int(0.95 * shown.height)))
        assert max(abs(a - b) for a, b in zip(pixel, colour)) < 12
    scale = whole["width"] / 120
    assert box["x"] - whole["x"] == pytest.approx(20 * scale, abs=3)
    assert box["width"] == pytest.approx(40 * scale, abs=5)


def test_keyboard(page):
    choose(page)
    page.focus("#list")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#list li.picked").startswith("<dot>") and count(page, "#boxes g.picked") == 1
    assert page.get_attribute("#list", "aria-activedescendant") == "detection-1"
    page.keyboard.press("ArrowUp")
    assert page.get_attribute("#list li.picked", "aria-selected") == "true"
    assert page.get_attribute("#list", "aria-activedescendant") == "detection-0"
    page.keyboard.press("Escape")
    assert count(page, ".picked") == 0 and page.get_attribute("#list", "aria-activedescendant") is None


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_pictures(page, kind):
    page.evaluate(
        """([kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "b.jpg", {type: "image/jpeg"}));
            const of = {bubbles: true, cancelable: true};
            document.body.dispatchEvent(kind === "drop" ? new DragEvent("drop", {...of, dataTransfer: data})
                : new ClipboardEvent("paste", {...of, clipboardData: data}));
        }""",
        [kind, list(picture())],
    )
    page.wait_for_selector("#boxes g", state="attached")
    assert page.inner_text("#status").startswith("b.jpg: ")
