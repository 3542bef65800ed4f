"""What is said of two evaluations, in numbers, in words and as a page."""

import json
import shutil

import pytest

from gfl_tf.comparison import compare, evaluations, files, text

pytestmark = pytest.mark.one_stack


@pytest.fixture
def comparison(evaluation):
    """Of a good detector with a bad one, and with itself."""
    dataset, found = evaluations.collect([evaluation("good", 1.0), evaluation("bad", 4.0), evaluation("same", 1.0)])
    return compare.compare(dataset, found, resamples=200)


def test_differences(comparison):
    content = json.loads(json.dumps(comparison.content(), allow_nan=False))
    good, bad, same = content["runs"]
    found = content["differences_from_first"]
    assert [each["name"] for each in found] == ["bad", "same"]
    for kind in ("metrics", "per_class_AP"):
        for name, difference in found[0][kind].items():
            if good[kind][name] == -1:
                assert difference is None and found[1][kind][name] is None
                continue
            assert difference["difference"] == pytest.approx(bad[kind][name] - good[kind][name], abs=1e-12)
            assert difference["low"] <= difference["high"]
            assert found[1][kind][name] == {"difference": 0, "low": 0, "high": 0, "more_than_chance": False}
    assert found[0]["metrics"]["AP"]["high"] < 0 and found[0]["metrics"]["AP"]["more_than_chance"]
    assert found[0]["per_class_AP"]["<cow>"] is None and found[0]["metrics"]["APl"] is None


def test_the_same_seed_gives_the_same_intervals(comparison):
    again = compare.compare(comparison.dataset, comparison.evaluations, resamples=200)
    assert again.content() == comparison.content()
    other = compare.compare(comparison.dataset, comparison.evaluations, resamples=200, seed=1)
    assert other.content()["differences_from_first"] != comparison.content()["differences_from_first"]


def test_detections_that_are_not_of_the_metrics_are_refused(evaluation, tmp_path):
    paths = [evaluation("good", 1.0), evaluation("bad", 4.0)]
    shutil.copy(tmp_path / "good" / "detections.json", tmp_path / "bad" / "detections.json")
    with pytest.raises(ValueError, match="bad/detections.json gives an AP of .* gfl-evaluate anew"):
        compare.compare(*evaluations.collect(paths), resamples=100)
    (tmp_path / "bad" / "detections.json").write_text('[{"image_id": 99}]')
    with pytest.raises(ValueError, match="bad/detections.json cannot be used: KeyError"):
        compare.compare(*evaluations.collect(paths), resamples=100)


def test_words(comparison):
    lines = text.render(comparison).splitlines()
    assert lines[0].startswith("12 images of ") and "200 resamples" in lines[0]
    assert lines[3].split() == ["good", "bad", "same"]
    value, low, high = (100 * number for number in comparison.differences(1)["metrics"]["AP"])
    row = next(line for line in lines if line.startswith("  AP ") and "[" in line)
    assert f"{value:+.1f} [{low:+.1f}, {high:+.1f}]*" in row and row.endswith("+0.0 [+0.0, +0.0]")
    names = [row[0] for row in text.trust_rows(comparison)]
    assert "D-ECE" in names and "edges in 90% intervals, %" in names


def test_page_opens_without_an_error(comparison, tmp_path, browser_page):
    files.write(comparison, tmp_path)
    assert json.loads((tmp_path / "compare.json").read_text()) == json.loads(json.dumps(comparison.content()))
    page = browser_page
    page.goto((tmp_path / "index.html").as_uri())
    assert page.title() == "good, bad, same" and page.locator(".diagram svg").count() == 4
    assert page.locator("figure.picture").count() == 8 and "No image differs." in page.inner_text("body")
    assert page.locator("td.bad").count() and "<cow>" in page.inner_text("body")
    assert len(page.asked) == 1
