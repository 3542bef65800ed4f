"""The same boxes from every format, however it is laid out; guesses; errors in one line."""

import numpy as np
import pytest

from gfl_tf.data import formats
from gfl_tf.data.coco import load_coco
from tests.data.formats import examples

pytestmark = pytest.mark.one_stack


def load(path, images=None, **options):
    content, folder = formats.read(path, images, **options)
    return load_coco(content, folder, source=str(path))


def found(dataset):
    """{image's name: [(class, box)]}, and sizes, of a loaded data set."""
    boxes = {
        record.path.rsplit("/")[-1]: [(dataset.class_names[c], box) for c, box in zip(record.classes, record.boxes)]
        for record in dataset.images
    }
    return boxes, {record.path.rsplit("/")[-1]: (record.width, record.height) for record in dataset.images}


def assert_is_the_example(dataset):
    boxes, sizes = found(dataset)
    assert sizes == examples.SIZES and dataset.class_names == examples.CLASSES
    for name in examples.SIZES:
        wanted = examples.boxes_of(name)
        assert [each for each, _ in boxes[name]] == [each for each, _ in wanted]
        for (_, box), (_, right) in zip(boxes[name], wanted):
            np.testing.assert_allclose(box, right, atol=1e-4)


WRITERS = {
    "coco": lambda folder: examples.write_coco(folder / "boxes.json", folder),
    "coco, images below": lambda folder: examples.write_coco(folder / "boxes.json", folder / "images"),
    "voc": lambda folder: examples.write_voc(folder / "VOC" / "Annotations", folder / "VOC" / "JPEGImages"),
    "voc, together": lambda folder: examples.write_voc(folder / "train", folder / "train"),
    "yolo": lambda folder: examples.write_yolo(folder),
    "yolo, its folder": lambda folder: examples.write_yolo(folder).parent,
    "csv": lambda folder: examples.write_csv(folder / "boxes.csv", folder),
}


@pytest.mark.parametrize("written", WRITERS)
def test_every_format_gives_the_same(written, tmp_path):
    path = WRITERS[written](tmp_path)
    assert formats.guess(path) == written.partition(",")[0]
    assert_is_the_example(load(path))


@pytest.mark.parametrize("written", ["coco", "voc", "yolo", "csv"])
def test_the_images_folder_can_be_named(written, tmp_path):
    path = WRITERS[written](tmp_path)
    images = tmp_path / "elsewhere"
    for image in list(tmp_path.rglob("*.png")):
        image.unlink()
    examples.write_images(images)
    if written == "yolo":
        examples.write_labels(images, images)
    assert_is_the_example(load(path, images))


@pytest.mark.parametrize("written", ["voc", "yolo", "csv"])
def test_class_names_set_the_order_and_are_checked(written, tmp_path):
    path = WRITERS[written](tmp_path)
    dataset = load(path, class_names=("dog", "cat"))
    assert dataset.class_names == ("dog", "cat") and found(dataset)[0]["b.png"][0][0] == "cat"
    with pytest.raises(ValueError, match=r"(a.xml|a.txt line 1|boxes.csv line 2) has an object of class 'dog'"):
        load(path, class_names=("cat",))


@pytest.mark.parametrize("written", ["voc", "csv"])
def test_classes_that_do_not_occur(written, tmp_path):
    assert load(WRITERS[written](tmp_path), class_names=("cow", "cat", "dog")).num_classes == 3


@pytest.mark.parametrize("written", ["yolo", "csv"])
def test_unreadable_images_are_refused_or_skipped(written, tmp_path):
    path = WRITERS[written](tmp_path)
    if written == "csv":
        path.write_text("path,label,x1,y1,x2,y2\na.png,cat,1,1,2,2\nb.png,cat,1,1,2,2\n")
    image = next(tmp_path.rglob("b.png"))
    image.write_text("none")
    with pytest.raises(ValueError, match="image of .*(b.txt|line 3): .*b.png is no JPEG.*: mend it"):
        load(path)
    assert "b.png" not in found(load(path, on_bad_image="skip"))[0]


def test_an_image_annotated_twice(tmp_path):
    folder = examples.write_voc(tmp_path / "both", tmp_path / "both")
    (folder / "copy.xml").write_text((folder / "b.xml").read_text())
    with pytest.raises(ValueError, match="copy.xml and .*b.xml both annotate the image b.png"):
        load(folder)


def test_sizes_are_those_of_the_turned_image(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    examples.write_text(tmp_path / "data.yaml", "train: .\nnames: [cat]\n")
    Image.new("RGB", (60, 40)).save(tmp_path / "a.jpg", exif=exif)
    examples.write_text(tmp_path / "a.txt", "0 0.5 0.5 1 1")
    content, _ = formats.read(tmp_path / "data.yaml")
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (40, 60)
    assert content["annotations"][0]["bbox"] == [0, 0, 40, 60]


@pytest.mark.parametrize("name", ["boxes.xlsx", "folder"])
def test_unknown_formats_list_the_known(name, tmp_path):
    path = examples.write_text(tmp_path / "boxes.xlsx", "") if "." in name else tmp_path
    with pytest.raises(ValueError, match=r"format of .* is not known; wanted is a .json file \(COCO\), a folder"):
        formats.read(path)


@pytest.mark.parametrize(
    "format, message",
    [
        ("csv", "is no file, as the format csv needs"),
        ("coco", "is no file, as the format coco needs"),
        ("yolo", "there is no data.yaml and no classes.txt"),
        ("voc", "there is no .xml file below"),
        ("vco", "'vco' is none of auto, coco, voc, yolo, csv"),
    ],
)
def test_a_format_that_does_not_fit(format, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        formats.read(tmp_path, format=format)


def test_images_that_are_not_beside_coco_json(tmp_path):
    path = examples.write_coco(tmp_path / "annotations" / "boxes.json", tmp_path / "photos")
    with pytest.raises(ValueError, match="images of .*boxes.json are not beside it.*--config.data.train_images"):
        formats.read(path)


@pytest.mark.parametrize("part", ["train", "val"])
def test_coco_and_yolo_of_real_data_agree(shared, part):
    """The apples are there in both formats; YOLO's six digits of 640 pixels are 0.0003 pixels."""
    folder = shared / "data" / "apples"
    coco, yolo = load(folder / part / "_annotations.coco.json"), load(folder / "data.yaml", split=part)
    assert coco.class_names == yolo.class_names
    other = {record.path: record for record in yolo.images}
    assert {record.path for record in coco.images} == set(other) and len(other) == {"train": 240, "val": 90}[part]
    for record in coco.images:
        np.testing.assert_allclose(record.boxes, other[record.path].boxes, atol=1e-3)
        np.testing.assert_array_equal(record.classes, other[record.path].classes)
        assert (record.width, record.height) == (other[record.path].width, other[record.path].height)
