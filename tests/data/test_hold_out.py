"""Which images are held out: drawn by seed, the same whatever happens to the files."""

import dataclasses

import numpy as np
import pytest

from gfl_tf.data.coco import CocoDataset, ImageRecord, LoadReport
from gfl_tf.data.hold_out import hold_out

BOX = np.ones([1, 4], np.float32)
LABEL = np.zeros([1], np.int32)


def _dataset(ids, **report):
    images = [ImageRecord(each, f"{each}.jpg", 9, 9, BOX, LABEL, BOX[:, 0], BOX[:0], LABEL[:0]) for each in ids]
    return CocoDataset(images, ("cat",), (1,), LoadReport("a.json", **report))


def _ids(parts):
    return {name: {record.id for record in part.images} for name, part in parts.items()}


@pytest.mark.parametrize("ids", [list(range(100)), [f"IMG_{number}" for number in range(100)]])
def test_each_image_is_in_one_part_and_the_seed_decides_which(ids):
    parts = _ids(hold_out(_dataset(ids), {"val": 0.15}, seed=0))
    assert len(parts["val"]) == 15 and sorted(parts["val"] | parts["train"], key=ids.index) == ids
    assert not parts["val"] & parts["train"]
    assert _ids(hold_out(_dataset(ids[::-1]), {"val": 0.15}, seed=0)) == parts
    assert len(_ids(hold_out(_dataset(ids), {"val": 0.15}, seed=1))["val"] & parts["val"]) < 10


def test_a_part_behind_it_leaves_it_as_it_is():
    one, two = (hold_out(_dataset(range(60)), shares, 3) for shares in ({"val": 0.2}, {"val": 0.2, "other": 0.1}))
    before, after = _ids(one), _ids(two)
    assert after["val"] == before["val"] and len(after["other"]) == 6
    assert after["other"] | after["train"] == before["train"] and not after["other"] & after["train"]


def test_images_that_go_bad_keep_their_place():
    whole = _dataset(range(50))
    before = hold_out(whole, {"val": 0.2}, 0)
    bad = [before["val"].images[0].id, before["train"].images[0].id]
    kept = [each for each in range(50) if each not in bad]
    for field, entries in (
        ("bad_images", [record for record in whole.images if record.id in bad]),
        ("unsized_images", [{"id": each, "num_boxes": 1} for each in bad]),
    ):
        after = hold_out(dataclasses.replace(_dataset(kept), report=LoadReport(**{field: entries})), {"val": 0.2}, 0)
        for name, image_id in zip(("val", "train"), bad):
            assert _ids(after)[name] == _ids(before)[name] - {image_id}
            assert len(getattr(after[name].report, field)) == 1


def test_few_images():
    assert {name: len(ids) for name, ids in _ids(hold_out(_dataset([1, 2]), {"val": 0.1}, 0)).items()} == {
        "val": 1,
        "train": 1,
    }
    with pytest.raises(ValueError, match="a.json has 1 images to use: too few .*for train.*--config.data.val_share=0"):
        hold_out(_dataset([1]), {"val": 0.1}, 0)
