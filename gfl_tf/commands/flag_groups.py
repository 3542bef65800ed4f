"""Flags that several commands have; they are shown as those of the command that defines them."""

import typing

from absl import flags

if typing.TYPE_CHECKING:
    from gfl_tf.data.formats.splits import Part

FLAGS = flags.FLAGS
DECODER = ("nms", "score_threshold", "iou_threshold", "max_detections", "voting_sigma")  # of `define_decoder`
flags.disclaim_key_flags()


def define_run() -> None:
    flags.DEFINE_string("run_dir", None, "Run directory of the training.")
    define_checkpoint()
    flags.mark_flag_as_required("run_dir")


def define_checkpoint() -> None:
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "Which of the run's weights.")


def define_decoder() -> None:
    """Of the options of `PredictionDecoder`; None: as the config has them."""
    flags.DEFINE_enum("nms", None, ["hard", "soft_linear", "soft_gaussian"], "By default the config's.")
    flags.DEFINE_float("score_threshold", None, "Scores up to it are left out before NMS; by default the config's.")
    flags.DEFINE_float("iou_threshold", None, "Overlap at which NMS drops the weaker box; by default the config's.")
    flags.DEFINE_integer("max_detections", None, "Detections per image at most; by default the config's.")
    flags.DEFINE_float("voting_sigma", None, "Of variance voting, 0: none; by default the config's.", lower_bound=0.0)


def define_intervals() -> None:
    flags.DEFINE_list("intervals", None, "Of a calibrated run (gfl-calibrate): which levels, as 0.9; by default all.")


def define_images_of_run(by_default: str, formats: str = "any format of gfl-train") -> None:
    """Of images with annotations on which the model of a run is tried; `by_default`: which they are otherwise."""
    flags.DEFINE_string("annotations", None, f"In {formats}; by default {by_default}.")
    flags.DEFINE_string("images", None, "Folder of the images; by default the run's, or as --annotations say.")
    flags.DEFINE_enum(
        "on_bad_image",
        None,
        ["error", "skip"],
        "What an image does that cannot be read; by default as in the training.",
    )


def images_of_run() -> dict[str, str | None]:
    """The values of `define_images_of_run`, by the names of arguments."""
    return {name: FLAGS[name].value for name in ("annotations", "images", "on_bad_image")}


def define_data_set() -> None:
    """Of a data set as a training reads it."""
    flags.DEFINE_string("path", "", "Folder of the whole data set, as config.data.path.")
    for split in ("train", "val"):
        flags.DEFINE_string(f"{split}_annotations", "", f"As config.data.{split}_annotations; wins over --path.")
        flags.DEFINE_string(f"{split}_images", "", f"As config.data.{split}_images.")
    flags.DEFINE_enum("format", "auto", ["auto", "coco", "voc", "yolo", "csv"], "Of the annotations.")
    flags.DEFINE_list("class_names", [], "In the wanted order; by default as the training annotations have them.")


def parts_of_data_set() -> "dict[str, Part]":
    """{"train", "val": what the flags of `define_data_set` name one by one}."""
    from gfl_tf.data.formats.splits import Part

    return {
        split: Part(FLAGS[f"{split}_annotations"].value, FLAGS[f"{split}_images"].value) for split in ("train", "val")
    }
