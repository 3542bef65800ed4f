"""Classes that have no boxes, or have them in one split alone."""

import collections.abc

import numpy as np

from gfl_tf.data.coco import CocoDataset
from gfl_tf.dataset_check.findings import Example, Finding, finding
from gfl_tf.dataset_check.loading import Split


def counts(dataset: CocoDataset) -> np.ndarray:
    """Boxes of each class, int [C]; crowds not counted."""
    classes = [record.classes for record in dataset.images]
    return np.bincount(np.concatenate(classes), minlength=dataset.num_classes)


def check(splits: collections.abc.Sequence[Split]) -> list[Finding]:
    """Findings of the classes, which all splits have in common."""
    boxes = {split.name: counts(split.dataset) for split in splits}
    names = splits[0].dataset.class_names

    def named(where):
        return [Example(names[index]) for index in np.flatnonzero(where)]

    findings = finding("class_without_box", "", named(sum(boxes.values()) == 0))
    if "train" in boxes and "val" in boxes:
        has_train, has_val = boxes["train"] > 0, boxes["val"] > 0
        findings += finding("class_not_in_train", "val", named(has_val & ~has_train))
        findings += finding("class_not_in_val", "train", named(has_train & ~has_val))
    for split in splits:
        unused = [each for each in split.content["categories"] if each["id"] not in split.dataset.category_ids]
        texts = [Example(f"{each['name']} (id {each['id']})") for each in unused]
        findings += finding("unused_category", split.name, texts)
    return findings
