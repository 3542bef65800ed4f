"""The analyses of a run: which files there are, what they say, what is left out."""

import json

import numpy as np
import pytest
from PIL import Image

from gfl_tf.evaluation.analyses import NAMES
from gfl_tf.training.analyses import TABLE
from gfl_tf.training.analyze_run import analyze_run

pytestmark = pytest.mark.one_stack

CLASSES = ("circle", "square", "star")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four images of noise with three objects each."""
    folder = tmp_path_factory.mktemp("analyze")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, [96, 160, 3], np.uint8)).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 96, "width": 160})
        for category in range(3):
            box = [10 + 50 * category, 20, 40, 48]
            item = {"id": len(annotations), "image_id": number, "category_id": category, "bbox": box, "iscrowd": 0}
            annotations.append({**item, "area": 40 * 48})
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "a.json").write_text(json.dumps(content))
    return {"annotations": folder / "a.json", "images": folder}


def test_the_table_has_all_names():
    assert tuple(TABLE) == NAMES


def test_everything(tiny_run, data, tmp_path):
    rows = [{"name": "tiny/1", "ms": 20.0, "AP": 0.5}]
    found, left_out = analyze_run(
        tiny_run, tmp_path, **data, exports=["tiny/1"], measure_exports=lambda paths, dataset: rows
    )
    assert tuple(found) == NAMES and not left_out
    for name in NAMES:
        assert Image.open(tmp_path / f"{name}.png").size[0] > 300
        assert json.loads((tmp_path / f"{name}.json").read_text()).keys() == found[name].keys()
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == len(NAMES) and "Left out" not in page and "4 images of a with 12 objects" in page
    assert found["oracles"]["objects"] == found["oracles"]["objects_with_positives"] == 12
    assert found["quality_labels"]["positives"] == found["top1_iou"]["positives"] >= 12
    assert found["class_and_quality"]["negatives"] == 4 * 25 and found["suppression"]["objects"] == 12


def test_without_exports(tiny_run, data, tmp_path):
    found, left_out = analyze_run(tiny_run, tmp_path, **data, only=["speed_accuracy"])
    assert not found and "--exports" in left_out["speed_accuracy"]
    assert "--exports" in (tmp_path / "index.html").read_text()


def test_what_does_not_apply_to_a_detector(tiny_atss, tiny_gfl, tiny_vfnet, tiny_depthwise):
    def left_out(model):
        return {name for name, analysis in TABLE.items() if analysis.missing(model)}

    assert left_out(tiny_depthwise) == set()  # GFLv2
    assert left_out(tiny_gfl) == {"class_and_quality", "top1_quality"}
    assert left_out(tiny_atss) == {"top1_iou", "top1_quality"}
    assert left_out(tiny_vfnet) == {"class_and_quality", "top1_iou", "top1_quality"}
    assert TABLE["top1_iou"].missing(tiny_atss) == "its boxes, AnchorDeltas, are no general distributions"


def test_unknown_name(tiny_run):
    with pytest.raises(ValueError, match="there is no analysis 'oracle'; there are quality_correlation, "):
        analyze_run(tiny_run, "out", only=["oracle"])
