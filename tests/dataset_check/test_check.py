"""A data set with one fault of each kind, and one without any."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfl_tf.config_files import load_config
from gfl_tf.data.coco import load_coco
from gfl_tf.data.fitted_scale import fitted_scale
from gfl_tf.data.formats.splits import Part
from gfl_tf.dataset_check import check, files, text
from gfl_tf.dataset_check.findings import KINDS
from gfl_tf.training import config as configs

pytestmark = pytest.mark.one_stack

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = check.Settings(scale=(96, 64))
BOX = [20, 10, 30, 40]


def write_picture(path, seed, size=(64, 96), orientation=1):
    """A picture of 9 x 8 random grey fields, by its seed."""
    fields = np.random.default_rng(seed).integers(0, 256, (8, 9), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(fields).resize(size[::-1], Image.Resampling.BICUBIC).convert("RGB").save(path, exif=exif)


class Maker:
    """A data set of two splits, each with two images 64 x 96 of the classes cat and dog."""

    def __init__(self, folder):
        self.folder = folder
        self.contents = {}
        for seed, split in ((10, "train"), (20, "val")):
            (folder / split).mkdir()
            categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
            self.contents[split] = {"images": [], "annotations": [], "categories": categories}
            for category in (1, 2):
                self.annotate(self.picture(f"{category}.png", seed + category, split), category, split=split)

    def picture(self, name, seed, split="train", **options):
        path = self.folder / split / name
        write_picture(path, seed, **options)
        return self.listed(name, split)

    def listed(self, name, split="train", **changes):
        images = self.contents[split]["images"]
        images.append({"id": len(images) + 1, "file_name": name, "height": 64, "width": 96, **changes})
        return len(images)

    def annotate(self, image_id=1, category_id=1, bbox=BOX, split="train", **changes):
        entries = self.contents[split]["annotations"]
        entry = {"id": len(entries) + 1, "image_id": image_id, "category_id": category_id, "bbox": bbox}
        entries.append({**entry, **changes})

    def write(self):
        for split, content in self.contents.items():
            (self.folder / split / "_annotations.coco.json").write_text(json.dumps(content))
        return self.folder

    def check(self):
        return check.check(str(self.write()), settings=SETTINGS)


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path)


def kinds(report):
    return {(each.kind, each.split): each.count for each in report.findings}


def test_a_clean_set(maker):
    report = maker.check()
    assert not report.findings and report.exit_code == 0
    assert dict(check.overview(report.splits))["boxes"] == [2, 2]


def damaged(maker):
    """A PNG whose header and end are those of a whole file."""
    path = maker.folder / "train" / "3.png"
    maker.annotate(maker.picture("3.png", 3))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def leak(maker):
    maker.annotate(maker.picture("3.png", 11, "val", size=(48, 72)), bbox=[20, 10, 30, 30], split="val")
    maker.contents["val"]["images"][-1].update(height=48, width=72)


def one_class_less(maker, split):
    maker.contents[split]["annotations"].pop()
    maker.annotate(2, 1, split=split)


FAULTS = {
    ("bad_image", "train"): lambda maker: maker.annotate(maker.picture("3.png", 3, size=(32, 96))),
    ("damaged_image", "train"): damaged,
    ("degenerate_box", "train"): lambda maker: maker.annotate(bbox=[5, 5, 0, 9]),
    ("outside_box", "train"): lambda maker: maker.annotate(bbox=[200, 5, 9, 9]),
    ("relative_box", "val"): lambda maker: maker.annotate(bbox=[0.1, 0.1, 0.5, 0.5], split="val"),
    ("duplicate_box", "train"): lambda maker: maker.annotate(bbox=[20, 10, 30, 40.5]),
    ("leak", "val"): leak,
    ("class_not_in_train", "val"): lambda maker: one_class_less(maker, "train"),
    ("class_not_in_val", "train"): lambda maker: one_class_less(maker, "val"),
    ("repeated_picture", "val"): lambda maker: maker.annotate(maker.picture("3.png", 21, "val"), split="val"),
    ("repeated_image", "train"): lambda maker: maker.annotate(maker.listed("1.png")),
    ("unlisted_image", "val"): lambda maker: write_picture(maker.folder / "val" / "3.png", 3),
    ("empty_image", "train"): lambda maker: maker.picture("3.png", 3),
    ("exif_turned", "train"): lambda maker: maker.annotate(maker.picture("3.png", 3, size=(96, 64), orientation=6)),
    ("exif_doubtful", "train"): lambda maker: maker.annotate(maker.picture("3.png", 3, orientation=3)),
    ("mended_name", "train"): lambda maker: maker.contents["train"]["images"][0].update(file_name=".\\1.png"),
    ("clipped_box", "train"): lambda maker: maker.annotate(bbox=[60, 10, 40, 40]),
    ("tiny_box", "train"): lambda maker: maker.annotate(bbox=[20, 10, 30, 1.5]),
    ("crowd_box", "train"): lambda maker: maker.annotate(bbox=[1, 1, 90, 60], iscrowd=1),
    ("replaced_area", "train"): lambda maker: maker.annotate(2, 1, [60, 20, 30, 30], area=-1),
    ("class_without_box", ""): lambda maker: [
        content["categories"].append({"id": 3, "name": "bird"}) for content in maker.contents.values()
    ],
    ("unused_category", "train"): lambda maker: maker.contents["train"]["categories"].extend(
        [{"id": 3, "name": "animal"}, {"id": 4, "name": "bird", "supercategory": "animal"}]
    ),
    ("untrainable", "val"): lambda maker: maker.contents["val"].update(annotations=[]),
    ("no_validation", ""): lambda maker: maker.contents.pop("val"),
    ("refused", "val"): lambda maker: maker.annotate(category_id=9, split="val"),
}


@pytest.mark.parametrize(("kind", "split"), FAULTS)
def test_each_fault_is_found(kind, split, maker):
    FAULTS[kind, split](maker)
    report = maker.check()
    assert kinds(report)[kind, split] == 1
    assert report.exit_code == (2 if kind == "refused" else KINDS[kind].severity == "error")
    found = next(each for each in report.findings if each.kind == kind)
    assert found.remedy and text.heading(found) in text.render(report)


def test_nothing_but_the_fault_is_found(maker):
    FAULTS["outside_box", "train"](maker)
    FAULTS["leak", "val"](maker)
    assert kinds(maker.check()) == {("outside_box", "train"): 1, ("leak", "val"): 1}


def test_every_kind_has_its_test():
    elsewhere = {"unassigned_box", "reader"}
    assert {kind for kind, _ in FAULTS} | elsewhere == set(KINDS)


def test_a_box_that_no_place_learns(maker):
    """Of two boxes of one centre, the inner one of a pixel has its nearest point, (32, 24), outside."""
    maker.annotate(2, 1, [35, 27, 2.5, 2.5])
    report = maker.check()
    assert kinds(report) == {("unassigned_box", "train"): 1}
    assert report.targets.unassigned == 1 and any(
        line.startswith("levels: no place learns") for line in report.suggestions
    )


def test_what_a_reader_says_and_what_it_skips(tmp_path):
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    write_picture(tmp_path / "images" / "train" / "a.png", 1)
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"no image")
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.9\n")
    (tmp_path / "labels" / "train" / "stray.txt").write_text("")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    report = check.check(str(tmp_path), settings=SETTINGS)
    assert kinds(report) | {("reader", "train"): 2, ("bad_image", "train"): 1} == kinds(report)
    assert "polygons became" in text.render(report) and "stray.txt" in text.render(report)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"path": "nowhere"}, "no training data"),
        ({"given": {"train": Part("nowhere.json")}}, "no annotation file or folder nowhere.json"),
        ({"given": {"train": Part(__file__)}}, "the format of"),
    ],
)
def test_data_that_are_not_there(given, words):
    report = check.check(**given)
    assert report.exit_code == 2 and words in text.render(report)
    assert text.content(report)["splits"] == {}


def test_a_file_name_that_is_no_text(maker, tmp_path):
    write_picture(maker.folder / "train" / "3.png", 3)
    os.rename(maker.folder / "train" / "3.png", os.fsencode(maker.folder / "train") + b"/\xff.png")
    report = maker.check()
    files.write(report, tmp_path)
    assert "/?.png" in (tmp_path / "report.html").read_text() and "/?.png" in text.render(report)


def test_all_files_bad(maker):
    for name in ("1.png", "2.png"):
        (maker.folder / "train" / name).write_bytes(b"no image")
    report = maker.check()
    assert report.exit_code == 2 and "train/1.png is no JPEG" in text.render(report)


def test_the_warnings_come_back_after_a_check(maker, caplog):
    FAULTS["degenerate_box", "train"](maker)
    maker.check()
    assert not caplog.text
    load_coco(maker.contents["train"], maker.folder / "train")
    assert "degenerate" in caplog.text


def test_written_files(maker, tmp_path):
    for key, fault in FAULTS.items():
        if key[0] in ("degenerate_box", "clipped_box", "leak", "exif_turned", "crowd_box", "bad_image"):
            fault(maker)
    maker.annotate(bbox=[float("nan"), 0, 5, 5])
    report = maker.check()
    files.write(report, tmp_path)
    content = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert content["exit_code"] == 1 and content["splits"]["train"]["boxes"] == 5
    assert {each["kind"]: each["count"] for each in content["findings"]}["degenerate_box"] == 2
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "prefers-color-scheme: dark" in page
    assert not re.search(r'(src|href)="(?!data:image/jpeg;base64,)', page)
    assert page.count("<img") == sum(
        bool(example.image) + bool(example.other) for f in report.findings for example in f.examples
    )


def test_at_most_twelve_pictures_of_a_kind(maker, tmp_path):
    for _ in range(15):
        maker.annotate(bbox=[60, 10, 40, 40], category_id=2)
    report = maker.check()
    files.write(report, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure>") == 3 * 12  # clipped, each other's duplicates, and without places
    assert page.count("3 without a picture") == 1 and page.count("2 without a picture") == 2


def test_short_form(maker):
    FAULTS["duplicate_box", "train"](maker)
    FAULTS["empty_image", "train"](maker)
    lines = check.summary_lines(load_coco(maker.contents["train"], maker.folder / "train"), (96, 64))
    assert lines[0].startswith("box size after the resize: 5% below")
    assert [line.partition(":")[0] for line in lines[1:]] == [KINDS["empty_image"].title, KINDS["duplicate_box"].title]


def test_the_page_lists_every_kind_with_its_severity():
    page = (ROOT / "docs" / "check_dataset.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (error|remark) \|", page, re.MULTILINE))
    assert rows == {kind: value.severity for kind, value in KINDS.items()}


@pytest.mark.parametrize("name, limits, reach", [("small", (256, 640), 16), ("finetune:fcos", (480, 1333), math.inf)])
def test_settings_are_those_of_a_training(maker, name, limits, reach):
    """The scale, too, is what the training chooses; its distances have no bins where the detector has none."""
    name = name.replace("fcos", "published:fcos_r50_caffe_fpn_gn-head_1x")
    settings = check.Settings.of(configs.complete(load_config(name)))
    assert (settings.scale, settings.long_side_limits, settings.reach) == ((), limits, reach)
    report = check.check(str(maker.write()), settings=settings)
    assert report.settings.scale == fitted_scale(load_coco(maker.contents["train"], maker.folder / "train"), limits)
    assert ("the bins reach" in text.targets_title(report)) == (reach == 16)


def test_images_without_annotations_are_refused():
    report = check.check(given={"val": Part("", "photos")}, settings=SETTINGS)
    assert report.exit_code == 2 and "the val images photos have no annotations" in text.render(report)


def test_real_data(shared):
    """BCCD as published: a degenerate box in each split, and a picture of train again in val."""
    report = check.check(str(shared / "data" / "bccd"), settings=check.Settings(scale=(320, 256)))
    errors = {key: count for key, count in kinds(report).items() if KINDS[key[0]].severity == "error"}
    assert errors == {("degenerate_box", "train"): 1, ("degenerate_box", "val"): 1, ("leak", "val"): 1}


def run(*flags):
    command = [sys.executable, str(ROOT / "bin" / "check_dataset"), *flags]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=env)


def test_command(maker, tmp_path):
    FAULTS["outside_box", "train"](maker)
    path = maker.write()
    done = run(f"--path={path}", "--config.data.scale=(96, 64)", f"--output={tmp_path / 'out'}")
    assert done.returncode == 1 and "is skipped" not in done.stderr, done.stderr
    assert "ERROR in train, outside_box" in done.stdout and (tmp_path / "out" / "report.html").exists()
    for flags, words in (
        ([], "name the data"),
        ([f"--path={path}", "--config.data.path=elsewhere"], "--config.data.path=elsewhere: here --path says so"),
        ([f"--path={path}", "--config.model.grid.levels=(3, 5)"], "levels is (3, 5); it must be consecutive levels"),
        ([f"--path={path}", f"--output={path / 'train' / '1.png' / 'out'}"], "1.png"),
    ):
        refused = run(*flags)
        assert (
            refused.returncode == 1 and words in refused.stderr + refused.stdout and "Traceback" not in refused.stderr
        )
