"""Pascal VOC: coordinates, image look-up, encodings, errors that name the file."""

import pytest

from gfl_tf.data import formats
from gfl_tf.data.formats.entries import to_coco
from gfl_tf.data.formats.voc import read_voc
from tests.data.formats.examples import voc_object, write_image, write_text

pytestmark = pytest.mark.one_stack


def write_xml(path, objects, file_name=None, size=(60, 40)):
    """objects: list of (name, difficult, xyxy)."""
    parts = [voc_object(name, box, difficult) for name, difficult, box in objects]
    name = f"<filename>{file_name}</filename>" if file_name else ""
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    write_text(path, f"<annotation>{name}{size}{''.join(parts)}</annotation>")


@pytest.fixture
def folders(tmp_path):
    xml, images = tmp_path / "Annotations", tmp_path / "JPEGImages"
    write_xml(xml / "b.xml", [("dog", 0, (1, 1, 60, 40)), ("cat", 1, (11, 6, 20, 25))], "b.jpg")
    write_xml(xml / "a.xml", [], "a.jpg")
    write_xml(xml / "sub" / "c.xml", [("cat", 0, (0, 0, 3, 3))], size=None)
    for name in ("a.jpg", "b.jpg", "sub/c.png"):
        write_image(images / name)
    return xml, images


def test_conversion(folders):
    content, folder = formats.read(*folders)
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert folder == str(folders[1]) and content["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
        {"id": 2, "file_name": "b.jpg", "width": 60, "height": 40},
        {"id": 3, "file_name": "sub/c.png", "width": 60, "height": 40},  # the size is the file's
    ]
    rows = [(a["id"], a["image_id"], a["category_id"], a["bbox"], a["difficult"]) for a in content["annotations"]]
    assert rows == [
        (1, 2, 2, [0, 0, 60, 40], 0),  # 1-based and inclusive: the whole image
        (2, 2, 1, [10, 5, 10, 20], 1),
        (3, 3, 1, [0, 0, 3, 3], 0),  # 0-based against the standard: clipped
    ]
    assert content["annotations"][1]["area"] == 200


def test_split_file(folders, tmp_path):
    path = write_text(tmp_path / "ImageSets" / "Main" / "val.txt", "b  1\nc -1\n")
    names = [entry.file_name for entry in read_voc(*folders, path).entries]
    assert names == ["b.jpg", "sub/c.png"]
    assert formats.read(path) == to_coco(read_voc(*folders, path))  # by itself, in the standard layout
    path.write_text("b\nzzz\n")
    with pytest.raises(FileNotFoundError, match="val.txt names zzz and 0 more without an XML file"):
        read_voc(*folders, path)
    with pytest.raises(FileNotFoundError, match="there is no folder .*Annotations with the .xml files of .*list.txt"):
        formats.read(write_text(tmp_path / "list.txt", "b"))


@pytest.mark.parametrize("name", ["a", "a.jpg", "C:\\photos\\a.jpg", "/elsewhere/photos/a.jpg", " a.png ", "other.jpg"])
def test_names_of_images_as_tools_write_them(name, folders):
    xml, images = folders
    write_xml(xml / "a.xml", [], name)
    assert formats.read(xml, images)[0]["images"][0]["file_name"] == "a.jpg"


@pytest.mark.parametrize("width", ["unknown", "0", "", "-3", "inf", "nan", "60px"])
def test_sizes_that_are_none_are_those_of_the_image(width, folders):
    xml, images = folders
    write_xml(xml / "a.xml", [], "a.jpg", (width, 99))
    image = formats.read(xml, images)[0]["images"][0]
    assert (image["width"], image["height"]) == (60, 40)


TEXT = "<annotation><object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
TEXT += "</object></annotation>"


@pytest.mark.parametrize(
    "declared, written, name",
    [
        ("gb2312", "gb2312", "苹果"),
        ("GB2312", "gbk", "蘋果"),  # beyond gb2312, but commonly called so
        ("ISO-8859-1", "latin-1", "Äpfel"),
        ("windows-1252", "cp1252", "œuf"),
        ("utf-8", "utf-8-sig", "pomme à cidre"),
        ("utf-16", "utf-16", "яблоко"),
        (None, "utf-8-sig", "яблоко"),
        (None, "utf-8", "яблоко"),
    ],
)
def test_encodings(declared, written, name, folders):
    xml, images = folders
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    (xml / "a.xml").write_bytes((head + TEXT.format(name)).encode(written))
    assert name in [each["name"] for each in formats.read(xml, images)[0]["categories"]]


@pytest.mark.parametrize(
    "declared, written, message",
    [
        ("ANSI", "latin-1", 'declares the encoding "ANSI", which Python does not know: save it as UTF-8'),
        ("base64", "latin-1", 'declares the encoding "base64", which Python does not know'),
        ("utf-8", "latin-1", 'is not in "utf-8", as it declares: save it as UTF-8'),
        (None, "latin-1", "declares no encoding and is not UTF-8: save it as UTF-8"),
    ],
)
def test_encodings_that_cannot_be_read(declared, written, message, folders):
    xml, images = folders
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    (xml / "a.xml").write_bytes((head + TEXT.format("Äpfel")).encode(written))
    with pytest.raises(ValueError, match=f"a.xml {message}"):
        formats.read(xml, images)


@pytest.mark.parametrize(
    "text, words",
    [
        ("<annotation>", "not valid XML"),
        ("", "not valid XML"),
        ("<html/>", "<html>"),
        ("<annotation><object><bndbox/></object></annotation>", "no <name>"),
        ("<annotation><object><name>cow</name></object></annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{voc_object('cow', (1,))}</annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{voc_object('cow', (1, 'x', 3, 4))}</annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{voc_object('cow', (1, 2, 'inf', 4))}</annotation>", "'cow'.*<bndbox>"),
        (f"<annotation>{voc_object('cow', (1, 2, 3, 4))}</annotation>", "'cow'.*dog, cat"),
        ("<annotation><filename>b.jpg</filename></annotation>", "b.xml.*b.jpg"),
    ],
)
def test_errors_name_the_file(folders, text, words):
    xml, images = folders
    write_image(images / "bad.jpg")
    (xml / "bad.xml").write_text(text)
    with pytest.raises(ValueError, match=f"bad.xml.*{words}") as refusal:
        formats.read(xml, images, class_names=["dog", "cat"])
    assert "\n" not in str(refusal.value)


def test_missing_things(folders, tmp_path):
    xml, images = folders
    (images / "sub/c.png").unlink()
    with pytest.raises(ValueError, match="JPEGImages/c of .*c.xml is missing"):
        formats.read(xml, images)
    content, _ = formats.read(xml, images, on_bad_image="skip")
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "b.jpg"]
    write_xml(xml / "z.xml", [], "C:\\photos\\gone.jpg")
    content, folder = formats.read(xml, images, on_bad_image="skip")
    assert folder == str(images) and content["images"][-1]["file_name"] == "gone.jpg"  # for load_coco to report
    with pytest.raises(FileNotFoundError, match="no .xml file"):
        read_voc(images, images)


def test_an_image_is_that_of_the_own_subfolder(folders):
    """Cameras count their pictures alike: each annotates its own."""
    xml, images = folders
    write_xml(xml / "sub" / "a.xml", [], "a.jpg", size=(20, 10))
    write_image(images / "sub" / "a.jpg", (20, 10))
    content, _ = formats.read(*folders)
    assert {"sub/a.jpg", "a.jpg"} < {image["file_name"] for image in content["images"]}


def test_a_name_of_a_split_file_with_two_xml_files(folders, tmp_path):
    write_xml(folders[0] / "sub" / "a.xml", [])
    listed = write_text(tmp_path / "val.txt", "b\na\n")
    with pytest.raises(ValueError, match="val.txt names a, which is .*a.xml and .*sub/a.xml: rename one"):
        read_voc(*folders, split_file=listed)


def test_endings_in_capitals_and_linked_folders(folders, tmp_path):
    write_xml(tmp_path / "elsewhere" / "d.XML", [], "b.jpg")
    (folders[0] / "linked").symlink_to(tmp_path / "elsewhere")
    (folders[0] / "elsewhere").mkdir()
    (folders[0] / "elsewhere" / "round").symlink_to(folders[0])  # a circle
    files = [entry.where.rpartition("/")[2] for entry in read_voc(*folders).entries]
    assert sorted(files) == ["a.xml", "b.xml", "c.xml", "d.XML"]
