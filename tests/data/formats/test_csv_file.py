"""Tables of boxes: names of columns, delimiters, forms, and errors that name the line."""

import pytest

from gfl_tf.data import formats
from tests.data.formats import examples

pytestmark = pytest.mark.one_stack


def read(folder, text, name="boxes.csv"):
    """[(image, class, x, y, width, height)] of a table beside the images of the example."""
    examples.write_images(folder)
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    content, _ = formats.read(path)
    files = {image["id"]: image["file_name"] for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    rows = [(files[a["image_id"]], names[a["category_id"]], *a["bbox"]) for a in content["annotations"]]
    return rows, list(files.values())


ROW = ("a.png", "cat", 6, 4, 30, 20)


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,60,40,cat,6,4,36,24",
        "image_path,label,x_min,y_min,x_max,y_max\r\na.png,cat,6,4,36,24\r\n",
        "\ufeffFile;Class;X1;Y1;X2;Y2\na.png;cat;6,0;4,0;36,0;24,0\n",  # Excel's, with its decimal comma
        "name\tpath\tx\ty\twidth\theight\ncat\ta.png\t6\t4\t30\t20\n",
        "file,x,y,w,h,label_name,image_width,image_height,score\na.png,6,4,30,20,cat,60,40,0.5",
        'image,class,left,top,right,bottom\n"a.png", "cat", 6, 4, 36, 24\n\n',
        "a.png,6,4,36,24,cat\n",  # RetinaNet's
        "filename,class,xmin,ymin,xmax,ymax\nC:\\photos\\a.png,cat,6,4,36,24\n",
        "filename,class,xmin,ymin,xmax,ymax\n/elsewhere/photos/a,cat,6,4,36,24\n",
    ],
)
def test_forms(text, tmp_path):
    assert read(tmp_path, text)[0] == [ROW]


@pytest.mark.parametrize("text", ["a.png,6,4,36,24,cat\nempty.png,,,,,\n", "empty.png,,,,,\na.png,6,4,36,24,cat\n"])
def test_background(text, tmp_path):
    rows, images = read(tmp_path, text)
    assert rows == [ROW] and sorted(images) == ["a.png", "empty.png"]


def test_boxes_of_an_image_may_be_apart_and_its_name_written_differently(tmp_path):
    rows, images = read(tmp_path, "a.png,6,4,36,24,cat\nb.png,1,1,2,2,cat\n./a.png,6,4,36,24,cat\n")
    assert rows[:2] == [ROW, ROW] and images == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "text",
    [
        "file,xmin,ymin,xmax,ymax,class,image_width,image_height\na.png,6,4,36,24,cat,61,40\n",
        "file,xmin,ymin,xmax,ymax,class,image_width,image_height,width,height\na.png,6,4,36,24,cat,61,40,30,20\n",
        "file,xmin,ymin,xmax,ymax,class,width,height\na.png,6,4,36,24,cat,,\na.png,6,4,36,24,cat,61,40\n",
    ],
)
def test_the_size_of_the_image_wherever_it_stands(text, tmp_path):
    examples.write_images(tmp_path)
    content, _ = formats.read(examples.write_text(tmp_path / "boxes.csv", text))
    assert [image["width"] for image in content["images"]] == [61]  # which load_coco compares with the file's 60


def test_images_outside_the_folder_of_the_table(tmp_path):
    examples.write_images(tmp_path / "photos")
    path = examples.write_text(tmp_path / "tables" / "boxes.csv", "../photos/a.png,6,4,36,24,cat\n")
    content, folder = formats.read(path)
    assert folder == str(tmp_path / "photos") and content["images"][0]["file_name"] == "a.png"


HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "is empty"),
        ("filename,class,xmin,ymin,xmax\na.png,cat,1,2,3", "line 1 has no column ymax; it has filename, class"),
        ("picture,xmin,ymin,xmax,ymax\na.png,1,2,3,4", "line 1 has no column file and no class"),
        (f"{HEADER}a.png,60,40,cat,6,4,36", "line 2 has 7 columns, the first line 8, with ','"),
        (f"{HEADER}a.png,60,40,cat,6,4,x,24", "line 2 has the box 6, 4, x, 24; four numbers"),
        (f"{HEADER}a.png,60,40,cat,6,4,,24", "line 2 has the box 6, 4, , 24; four numbers"),
        (f"{HEADER}a.png,60,40,cat,6,4,inf,24", "line 2 has the box 6, 4, inf, 24"),
        (f"{HEADER}a.png,60,40,,6,4,36,24", "line 2 has a box without a class"),
        (f"{HEADER},60,40,cat,6,4,36,24", "line 2 names no image"),
        (f"{HEADER}a.png,60,-40,cat,6,4,36,24", "line 2 has an image of 60 x -40 pixels"),
        (f"{HEADER}a.png,60,,cat,6,4,36,24", "line 2 has an image of 60 x  pixels"),
        (
            f"{HEADER}a.png,60,40,cat,6,4,36,24\na.png,60,41,cat,6,4,36,24",
            "line 3 says that a.png has 60 x 41 pixels, .*2",
        ),
        ("x/a.png,6,4,36,24,cat\ny/a.png,6,4,36,24,cat", "line 2 names y/a.png, and a line before it x/a.png, but all"),
        (f"{HEADER}a.png,60,40,cat,0.1,0.1,0.6,0.6", "no coordinate above 1: they must be in pixels"),
        (f"{HEADER}empty.png,20,20,,,,,", "has no object, so its classes are not known"),
        (f"{HEADER}{'a' * 300}.png,,,cat,6,4,36,24", "a.png of .*line 2 is missing"),
        (f"{HEADER}gone.png,,,cat,6,4,36,24", "gone.png of .*line 2 is missing"),
        (b"\xff\xfe\x00", "is not in UTF-8"),
        ('a.png,6,4,36,24,"' + "x" * 200_000, "line 1 cannot be read: field larger"),
    ],
)
def test_errors_name_the_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=rf"boxes.csv.*{message}|{message}") as refusal:
        read(tmp_path, text)
    assert "\n" not in str(refusal.value) and "boxes.csv" in str(refusal.value)
