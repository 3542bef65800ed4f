r"""Converts annotations in Pascal VOC, YOLO or CSV to one COCO JSON file; gfl-train reads all of them without.

Examples:
    gfl-convert-dataset --annotations=VOC2007/Annotations --images=VOC2007/JPEGImages \
        --split_file=VOC2007/ImageSets/Main/train.txt --output=train.json
    gfl-convert-dataset --annotations=export/data.yaml --split=val --output=val.json
    gfl-convert-dataset --annotations=boxes.csv --images=photos --class_names=cat,dog --output=train.json
"""

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("annotations", None, "Folder of .xml files, data.yaml or its folder, or .csv file.")
    flags.DEFINE_string("images", None, "Folder of the images, where the annotations do not say it.")
    flags.DEFINE_string("output", None, "The COCO JSON file to write.")
    flags.DEFINE_enum("format", "auto", ["auto", "voc", "yolo", "csv"], "Of the annotations; auto: by their names.")
    flags.DEFINE_list("class_names", [], "Class names in the wanted order; by default as listed, or all, sorted.")
    flags.DEFINE_enum("split", None, ["train", "val", "test"], "YOLO: which part of data.yaml; by default train.")
    flags.DEFINE_string("split_file", None, "VOC: text file with one name per line (ImageSets/Main); by default all.")
    flags.DEFINE_bool("difficult", True, "VOC: whether objects marked difficult are kept.")
    flags.mark_flags_as_required(["annotations", "output"])


def main():
    start.import_tensorflow()
    from gfl_tf.data.formats import convert

    try:
        dataset, images = convert.convert(
            FLAGS.annotations,
            FLAGS.output,
            FLAGS.images,
            FLAGS.format,
            FLAGS.class_names,
            FLAGS.split,
            FLAGS.split_file,
            FLAGS.difficult,
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"convert_dataset: {error}") from error
    print(
        f"{FLAGS.output}: {len(dataset.images)} images of {images}, {dataset.report.boxes} boxes, "
        f"{dataset.num_classes} classes"
    )


def run():
    start.run(define_flags, main)
