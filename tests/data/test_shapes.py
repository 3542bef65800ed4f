import collections
import json
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from gfl_tf.data import shape_scenes, shapes


def _scene(number, image_size=(192, 256)):
    rng = np.random.default_rng(number)
    scene = shape_scenes.sample_scene(rng, image_size)
    return scene, rng


@pytest.fixture(scope="module")
def many_scenes():
    return [_scene(number)[0] for number in range(1000)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shapes")
    return shapes.write_shapes(directory, num_train=12, num_val=5, image_size=(128, 200), seed=3)


def _contents(paths, split):
    annotations, images = paths[split]
    return {path.name: path.read_bytes() for path in (annotations, *sorted(images.iterdir()))}


def _inside(points, outline):
    """Even-odd rule: which of points [n, 2] lie in a polygon [k, 2]. Independent of Pillow's rasteriser."""
    x, y = points[:, 0], points[:, 1]
    inside = np.zeros(len(points), bool)
    for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, axis=0)):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(written, tmp_path):
    again = shapes.write_shapes(tmp_path / "again", 12, 5, (128, 200), seed=3)
    other = shapes.write_shapes(tmp_path / "other", 12, 5, (128, 200), seed=4)
    for split in ("train", "val"):
        assert _contents(again, split) == _contents(written, split)
        assert _contents(other, split) != _contents(written, split)


def test_a_split_does_not_depend_on_the_size_of_the_other_nor_a_picture_on_the_number_of_pictures(written, tmp_path):
    larger = shapes.write_shapes(tmp_path, num_train=15, num_val=5, image_size=(128, 200), seed=3)
    assert _contents(larger, "val") == _contents(written, "val")
    small, large = _contents(written, "train"), _contents(larger, "train")
    assert all(large[name] == small[name] for name in small if name.endswith(".jpg"))


def test_train_and_val_share_no_picture(written):
    train = {data for name, data in _contents(written, "train").items() if name.endswith(".jpg")}
    val = {data for name, data in _contents(written, "val").items() if name.endswith(".jpg")}
    assert len(train) == 12 and len(val) == 5
    assert not train & val


def test_coco_loads_what_is_written(written):
    for split, count in (("train", 12), ("val", 5)):
        annotations, images = written[split]
        coco = COCO(str(annotations))
        assert {record["id"]: record["name"] for record in coco.loadCats(coco.getCatIds())} == shapes.CATEGORIES
        assert len(coco.imgs) == count
        assert len(set(coco.anns)) == len(coco.dataset["annotations"]) > 0
        for record in coco.imgs.values():
            with Image.open(images / record["file_name"]) as image:
                assert image.size == (record["width"], record["height"]) == (200, 128)
                assert image.mode == "RGB"
        for annotation in coco.anns.values():
            mask = coco.annToMask(annotation)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            extent = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
            assert annotation["bbox"] == extent
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0


def test_boxes_are_tight_around_what_is_visible_in_an_independent_rendering():
    height, width = 130, 170
    ys, xs = np.mgrid[:height, :width]
    centres = np.stack([xs.ravel(), ys.ravel()], axis=-1) + 0.5
    differences = []
    for number in range(40):
        scene, _ = _scene(number, (height, width))
        owner = np.full(height * width, -1)
        for index, shape in enumerate(scene.shapes):
            covered = _inside(centres, shape.outline)
            if shape.hole is not None:
                covered &= ~_inside(centres, shape.hole)
            owner[covered] = index
        for index, record in enumerate(shape_scenes.annotate_scene(scene)):
            mask = (owner == index).reshape(height, width)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            x, y, w, h = record["bbox"]
            differences += [x - columns[0], y - rows[0], x + w - 1 - columns[-1], y + h - 1 - rows[-1]]
    distances = np.abs(differences)
    assert len(distances) > 400
    # The two rasterisers may disagree about a pixel that is half covered, and so about the last pixel
    # of a thin tip or of a sliver left beside a shape on top.
    assert (distances == 0).mean() > 0.75
    assert (distances <= 1).mean() > 0.98
    assert abs(np.mean(np.clip(differences, -2, 2).reshape(-1, 4), axis=0)).max() < 0.25


def test_shapes_are_painted_where_their_masks_are(monkeypatch):
    monkeypatch.setattr(shape_scenes, "_background", lambda rng, h, w: np.zeros((h, w, 3), np.uint8))
    monkeypatch.setattr(shape_scenes, "_clutter", lambda rng, background: background)
    monkeypatch.setattr(shape_scenes, "_fill", lambda rng, under, h, w: np.full((h, w, 3), 255, np.float32))
    monkeypatch.setattr(Image.Image, "filter", lambda image, kind: image)
    for number in range(10):
        scene, rng = _scene(number)
        painted = shape_scenes.paint_scene(rng, scene).min(axis=-1) > 110  # half of 255, less the noise
        # Outside the masks, only pixels that the soft edges of two shapes share can be as bright.
        np.testing.assert_array_equal(painted[scene.owner >= 0], True)
        assert (painted & (scene.owner < 0)).sum() <= 0.003 * painted.size


def test_every_shape_stays_visible(many_scenes):
    hidden = 0
    for scene in many_scenes[:300]:
        for index, (shape, record) in enumerate(zip(scene.shapes, shape_scenes.annotate_scene(scene))):
            _, full_area = shape_scenes._rasterize(shape, scene.owner.shape)
            share = record["area"] / full_area
            assert share >= shape_scenes.MIN_VISIBLE_SHARE
            assert min(record["bbox"][2:]) >= shape_scenes.MIN_BOX_SIDE_PX
            hidden += share < 0.9
    assert hidden > 100  # occlusion and truncation do occur


def test_a_tenth_of_the_pictures_is_empty(many_scenes):
    empty = np.mean([not scene.shapes for scene in many_scenes])
    assert abs(empty - shape_scenes.EMPTY_SHARE) < 4 * math.sqrt(0.09 / len(many_scenes))
    nothing = shape_scenes.Scene([], [], np.full((70, 90), -1, np.int16))
    painted = shape_scenes.paint_scene(np.random.default_rng(0), nothing)
    assert painted.shape == (70, 90, 3) and painted.std() > 2


def test_classes_are_balanced_and_sizes_cover_the_range(many_scenes):
    counts = collections.Counter(shape.class_index for scene in many_scenes for shape in scene.shapes)
    mean = sum(counts.values()) / len(shapes.CLASS_NAMES)
    assert sorted(counts) == list(range(len(shapes.CLASS_NAMES)))
    assert all(abs(count - mean) < 0.15 * mean for count in counts.values())
    longest = [max(r["bbox"][2:]) for scene in many_scenes[:300] for r in shape_scenes.annotate_scene(scene)]
    assert np.percentile(longest, 10) < 26 and np.percentile(longest, 90) > 80
    assert max(len(scene.shapes) for scene in many_scenes) == shape_scenes.MAX_OBJECTS


@pytest.mark.parametrize("image_size", [(64, 64), (97, 333), (300, 70)])
def test_pictures_of_any_size(image_size):
    for number in range(8):
        scene, rng = _scene(number, image_size)
        image = shape_scenes.paint_scene(rng, scene)
        assert image.shape == (*image_size, 3) and image.dtype == np.uint8
        for record in shape_scenes.annotate_scene(scene):
            x, y, w, h = record["bbox"]
            assert 0 <= x < x + w <= image_size[1] and 0 <= y < y + h <= image_size[0]


def _write(directory, **changes):
    return shapes.write_shapes(directory, **{"num_train": 3, "num_val": 2, "image_size": (64, 64), **changes})


def test_complete_data_is_left_alone(tmp_path):
    annotations, images = _write(tmp_path)["train"]
    times = [path.stat().st_mtime_ns for path in (annotations, *images.iterdir())]
    _write(tmp_path)
    assert times == [path.stat().st_mtime_ns for path in (annotations, *images.iterdir())]


@pytest.mark.parametrize("lost", ["annotations", "image"])
def test_an_interrupted_generation_is_done_again(tmp_path, lost):
    paths = _write(tmp_path)
    before = _contents(paths, "train")
    annotations, images = paths["train"]
    (annotations if lost == "annotations" else images / "000002.jpg").unlink()
    (images / "000001.jpg").write_bytes(b"half a file")
    _write(tmp_path)
    assert _contents(paths, "train") == before


def test_the_annotations_are_written_last(tmp_path, monkeypatch):
    paint = shape_scenes.paint_scene
    painted = []

    def interrupted(rng, scene):
        painted.append(scene)
        if len(painted) == 3:
            raise KeyboardInterrupt
        return paint(rng, scene)

    monkeypatch.setattr(shape_scenes, "paint_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path)
    assert (tmp_path / "train" / "000002.jpg").exists()
    assert not (tmp_path / "annotations" / "train.json").exists()


def test_other_settings_are_drawn_anew_without_leftovers(tmp_path):
    _write(tmp_path, num_train=6)
    paths = _write(tmp_path, num_train=3)
    assert len(list(paths["train"][1].iterdir())) == 3
    assert len(json.loads(paths["train"][0].read_text())["images"]) == 3


def test_annotations_of_others_are_never_overwritten(tmp_path):
    path = tmp_path / "annotations" / "train.json"
    path.parent.mkdir()
    path.write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match="train.json was not written by the shapes generator"):
        _write(tmp_path)
    assert path.read_text() == '{"images": [], "annotations": []}'


@pytest.mark.parametrize("changes", [{"image_size": (63, 200)}, {"num_train": 0}, {"num_val": 0}])
def test_sizes_that_cannot_be_drawn(tmp_path, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        _write(tmp_path, **changes)
