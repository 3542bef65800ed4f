r"""Converts Pascal VOC XML annotations to one COCO JSON file.

Example:
    gfl-voc-to-coco --annotations=VOC2007/Annotations --images=VOC2007/JPEGImages \
        --split=VOC2007/ImageSets/Main/train.txt --output=train.json
"""

from absl import flags

from gfl_tf.commands import start

FLAGS = flags.FLAGS


def define_flags():
    flags.DEFINE_string("annotations", None, "Folder with the .xml files, searched with subfolders.")
    flags.DEFINE_string("images", None, "Folder with the images.")
    flags.DEFINE_string("output", None, "The COCO JSON file to write.")
    flags.DEFINE_list("classes", [], "Class names in the wanted order; by default all that occur, sorted.")
    flags.DEFINE_string("split", None, "Text file with one name per line (VOC's ImageSets/Main); by default all files.")
    flags.DEFINE_bool("difficult", True, "Whether objects marked difficult are kept.")
    flags.mark_flags_as_required(["annotations", "images", "output"])


def main():
    start.import_tensorflow()
    from gfl_tf.data import voc

    try:
        content = voc.convert(
            FLAGS.annotations, FLAGS.images, FLAGS.output, FLAGS.classes, FLAGS.split, FLAGS.difficult
        )
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"voc_to_coco: {error}") from error
    print(
        f"{FLAGS.output}: {len(content['images'])} images, {len(content['annotations'])} boxes,"
        f" {len(content['categories'])} classes"
    )


def run():
    start.run(define_flags, main)
