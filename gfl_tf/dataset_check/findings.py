"""What is wrong or odd with a data set, as records."""

import collections.abc
import typing

from gfl_tf.data.image_checks import SKIP_FLAG

ERROR, REMARK = "error", "remark"


class Kind(typing.NamedTuple):
    """A kind of findings: how bad it is, what the found things are, and what to do."""

    severity: str
    title: str
    remedy: str


# Errors are what training refuses or is spoiled by.
KINDS = {
    "refused": Kind(ERROR, "data that cannot be read at all", "mend what the line names, then check again"),
    "untrainable": Kind(ERROR, "data that nothing can be learnt from or scored on", "see the line above"),
    "bad_image": Kind(
        ERROR,
        "image files that cannot be used",
        f"mend or remove them; gfl-train leaves them out with {SKIP_FLAG}",
    ),
    "damaged_image": Kind(ERROR, "image files that are damaged in their middle", "mend or remove them"),
    "degenerate_box": Kind(
        ERROR, "boxes without width or height, which are left out", "correct or remove them: their object is background"
    ),
    "outside_box": Kind(
        ERROR, "boxes outside their image, which are left out", "correct or remove them: their object is background"
    ),
    "relative_box": Kind(
        ERROR, "boxes in 0..1, as if relative to their image", "multiply them by the image's width and height"
    ),
    "duplicate_box": Kind(
        ERROR,
        "boxes that repeat another of their class in the same image",
        "keep one of each: the other counts twice in training and is never found in evaluation",
    ),
    "leak": Kind(
        ERROR,
        "validation images that are, or nearly are, training images",
        "keep them in one split: scores on the other are too high",
    ),
    "class_not_in_train": Kind(
        ERROR, "classes with boxes in val and none in train", "move images, or leave the classes out: AP 0 is certain"
    ),
    "repeated_picture": Kind(
        REMARK, "images that are, or nearly are, another of the same split", "remove them, unless they are wanted twice"
    ),
    "repeated_image": Kind(
        REMARK, "files that are listed as several images", "list each once: they count several times"
    ),
    "unlisted_image": Kind(
        REMARK, "image files beside the listed ones that no split lists", "annotate, list or move them"
    ),
    "empty_image": Kind(
        REMARK,
        "images without a box",
        "fine if nothing is on them; --config.data.keep_empty=False leaves them out of training",
    ),
    "exif_turned": Kind(
        REMARK,
        "images that are turned as EXIF says, as their annotations have that size",
        "save them upright: exports ignore EXIF",
    ),
    "exif_doubtful": Kind(
        REMARK,
        "images whose EXIF orientation keeps their size, and is left out",
        "look at their boxes; save them upright",
    ),
    "mended_name": Kind(REMARK, "file names found only with / for \\ or the like", "correct them in the annotations"),
    "clipped_box": Kind(
        REMARK, "boxes that leave their image by more than a pixel, and are cut to it", "check the image's size"
    ),
    "tiny_box": Kind(
        REMARK, "boxes with a side below 2 px after the resize", "raise the scale, or remove them: no detail is left"
    ),
    "crowd_box": Kind(
        REMARK, 'groups ("iscrowd": 1), which are no part of the training', "nothing, if they are groups"
    ),
    "replaced_area": Kind(REMARK, "annotations whose area is no number above 0", "nothing: that of the box counts"),
    "unassigned_box": Kind(
        REMARK,
        "boxes of the sampled images that no place learns",
        "too small, or others take all their places",
    ),
    "class_without_box": Kind(REMARK, "classes without any box", "remove them: an output is never trained"),
    "class_not_in_val": Kind(REMARK, "classes with boxes in train and none in val", "move images: they have no score"),
    "unused_category": Kind(
        REMARK, "categories that are no class, such as an unused root", "nothing, or remove them from the file"
    ),
    "no_validation": Kind(
        REMARK, "training data without validation data", "name some; without, config.data.val_share holds out images"
    ),
    "reader": Kind(REMARK, "things that the reader of the format says", "see the lines above"),
}


class Example(typing.NamedTuple):
    """One thing that was found.

    Attributes:
        text: a line that names it.
        image: path of the image to show it in; "": there is none.
        box: xyxy to draw, in pixels as the annotations count them; (): none.
        other: path of a second image to show beside it.
    """

    text: str
    image: str = ""
    box: tuple = ()
    other: str = ""


class Finding(typing.NamedTuple):
    """All that was found of one kind in one split.

    Attributes:
        kind: one of `KINDS`, which say its severity, title and remedy.
        split: its name; "" where it is about all.
        examples: list of `Example`, all of them, the worst first.
    """

    kind: str
    split: str
    examples: list

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity

    @property
    def title(self) -> str:
        return KINDS[self.kind].title

    @property
    def remedy(self) -> str:
        return KINDS[self.kind].remedy

    @property
    def count(self) -> int:
        return len(self.examples)


def finding(kind: str, split: str, examples: collections.abc.Iterable[Example]) -> list[Finding]:
    """One `Finding` with these examples, or none where there is no example."""
    examples = list(examples)
    return [Finding(kind, split, examples)] if examples else []
