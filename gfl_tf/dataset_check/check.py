"""The whole check of a data set, and its short form for a training."""

import collections.abc
import dataclasses
import math

import ml_collections
import numpy as np

from gfl_tf.data.coco import CocoDataset, check_trainable
from gfl_tf.data.fitted_scale import fitted_scale
from gfl_tf.data.formats.splits import Part
from gfl_tf.dataset_check import boxes as box_checks
from gfl_tf.dataset_check import classes, histograms, images, loading, repeats, suggestions
from gfl_tf.dataset_check.findings import ERROR, Example, finding
from gfl_tf.dataset_check.loading import Progress, Split
from gfl_tf.dataset_check.targets import Targets, measure
from gfl_tf.ops.grid import GridSpec


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of the config that the data are meant for.

    Attributes:
        scale: (long, short) limits of the resized image in pixels; (): what `fitted_scale` chooses.
        long_side_limits: of a scale that is chosen.
        num_bins, bin_width: of the box distributions; their product is how far they reach, in strides. Without
            distributions `num_bins` is None.
        levels: of the pyramid.
    """

    scale: tuple[int, ...] = ()
    long_side_limits: tuple[int, int] = (256, 1333)
    num_bins: int | None = 16
    bin_width: float = 1.0
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)

    def __post_init__(self):
        if len(self.scale) not in (0, 2):
            raise ValueError(f"scale is {self.scale!r}; it must have the long and the short side")
        GridSpec(levels=self.levels)  # raises ValueError for levels that cannot be

    @classmethod
    def of(cls, config: ml_collections.ConfigDict) -> "Settings":
        """Those of a complete config."""
        boxes = config.model.boxes
        return cls(
            scale=tuple(config.data.scale),
            long_side_limits=tuple(config.data.long_side_limits),
            num_bins=boxes.get("num_bins"),
            bin_width=boxes.get("bin_width", 1.0),
            levels=tuple(config.model.grid.levels),
        )

    @property
    def reach(self) -> float:
        """The largest distance that the bins have, in strides."""
        return math.inf if self.num_bins is None else self.num_bins * self.bin_width


@dataclasses.dataclass
class Report:
    """What a check found.

    Attributes:
        settings: `Settings`.
        splits: list of `Split`, those that can be read.
        findings: list of `Finding`.
        histograms: list of `Histogram`.
        targets: `Targets` of the training images; None where there are no boxes.
        suggestions: lines.
    """

    settings: Settings
    splits: list = dataclasses.field(default_factory=list)
    findings: list = dataclasses.field(default_factory=list)
    histograms: list = dataclasses.field(default_factory=list)
    targets: Targets | None = None
    suggestions: list = dataclasses.field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: no errors; 1: errors; 2: data that cannot be read at all."""
        if any(each.kind == "refused" for each in self.findings):
            return 2
        return int(any(each.severity == ERROR for each in self.findings))


def check(
    path: str = "",
    given: collections.abc.Mapping[str, Part] | None = None,
    format: str = "auto",
    class_names: collections.abc.Sequence[str] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Report:
    """Reads a whole data set and says all that is wrong or odd with it; faults of the data raise nothing.

    Args:
        path, given: see `loading.find_parts`.
        format, class_names: see `loading.load`.
        settings: of the config that the data are meant for.
        progress: called with (done, of how many, what).
    """
    report = Report(settings)
    parts, report.findings = loading.find_parts(path, given or {}, format)
    report.splits, found = loading.load(parts, format, class_names, progress)
    report.findings += found
    if report.splits:
        report.findings += _of_all(report.splits, progress)
        if [split.name for split in report.splits] == ["train"] and "val" not in parts:
            report.findings += finding("no_validation", "", [Example("config.data.val_annotations is not set")])
    with_boxes = [split for split in report.splits if split.dataset.num_boxes]
    if with_boxes and not settings.scale:
        scale = fitted_scale(with_boxes[0].dataset, settings.long_side_limits)
        report.settings = dataclasses.replace(settings, scale=scale)
    for split in with_boxes:
        _add_boxes(report, split)
    report.findings.sort(key=lambda each: each.severity != ERROR)
    return report


def _of_all(splits, progress):
    findings = [each for split in splits for each in (*images.check(split), *box_checks.of_annotations(split))]
    for split in splits:
        findings += _untrainable(split)
    return findings + classes.check(splits) + images.unlisted(splits) + repeats.check(splits, progress)


def _untrainable(split):
    try:
        if split.name == "train" or not split.dataset.num_boxes:
            check_trainable(split.dataset)
    except ValueError as error:
        return finding("untrainable", split.name, [Example(str(error))])
    return []


def _add_boxes(report, split):
    """Adds to a report what the boxes of a split give."""
    settings = report.settings
    boxes = box_checks.all_boxes(split.dataset, settings.scale)
    report.findings += box_checks.tiny(split, boxes) + box_checks.duplicates(split, boxes)
    report.histograms += histograms.of(split, boxes)
    if split is report.splits[0]:
        report.targets, found = measure(split, boxes, settings.scale, settings.levels, settings.reach)
        report.findings += found
        report.suggestions = [
            *suggestions.of_scale(split.dataset, boxes, settings.scale),
            *suggestions.of_bins(report.targets, settings.num_bins, settings.bin_width),
            *suggestions.of_levels(report.targets),
        ]


def overview(splits: collections.abc.Sequence[Split]) -> list[tuple[str, list[int]]]:
    """[(what, its number in each split)]."""
    datasets = [split.dataset for split in splits]
    rows = {
        "images": lambda dataset: len(dataset.images) + len(dataset.report.bad_images),
        "images that can be used": lambda dataset: len(dataset.images),
        "images without a box": lambda dataset: sum(not len(record.boxes) for record in dataset.images),
        "classes": lambda dataset: dataset.num_classes,
        "boxes": lambda dataset: dataset.num_boxes,
        "crowd boxes": lambda dataset: sum(len(record.crowd_boxes) for record in dataset.images),
        "boxes left out": lambda dataset: len(dataset.report.degenerate_annotations),
        "boxes clipped": lambda dataset: dataset.report.clipped_boxes,
        "most boxes in an image": lambda dataset: dataset.max_boxes,
    }
    return [(what, [count(dataset) for dataset in datasets]) for what, count in rows.items()]


def summary_lines(dataset: CocoDataset, scale: tuple[int, int]) -> list[str]:
    """What `load_coco` has not said yet of a `CocoDataset`: no image is decoded, nothing is assigned."""
    split = Split("", dataset, {"categories": [], "annotations": []}, [])
    lines = []
    findings = classes.check([split]) + images.empty(dataset, "")
    if dataset.num_boxes:
        boxes = box_checks.all_boxes(dataset, scale)
        sizes = np.percentile(np.sqrt(boxes.sides.prod(axis=1)), (5, 50, 95))
        lines.append(
            "box size after the resize: 5% below {:.0f} px, half below {:.0f}, 95% below {:.0f}".format(*sizes)
        )
        findings += box_checks.tiny(split, boxes) + box_checks.duplicates(split, boxes)
        lines += suggestions.of_scale(dataset, boxes, scale)
    return lines + [f"{each.title}: {each.count}, such as {each.examples[0].text}" for each in findings]
