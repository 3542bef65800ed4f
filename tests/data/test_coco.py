"""COCO files: what is read, what is skipped and said, what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from gfl_tf.data.coco import check_trainable, load_coco, without_empty_images
from gfl_tf.data.pipeline import training_batches


def write_image(path, height=40, width=60, value=90):
    Image.fromarray(np.full([height, width, 3], value, np.uint8)).save(path)


@pytest.fixture
def content(tmp_path):
    """Two images of 40 x 60; sparse category ids that are not in order."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    images = [
        {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
        {"id": 0, "file_name": "b.png", "height": 40, "width": 60},
    ]
    annotations = [
        {"id": 0, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0},
        {"id": 5, "image_id": 7, "category_id": 3, "bbox": [10.5, 0, 20, 10]},
    ]
    categories = [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def annotate(content, **changes):
    """Adds an annotation to image 7."""
    entry = {"id": 100 + len(content["annotations"]), "image_id": 7, "category_id": 3, "bbox": [0, 0, 5, 5]}
    content["annotations"].append({**entry, **changes})


def test_boxes_classes_and_sizes(content, tmp_path):
    dataset = load_coco(content, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (3, 90)
    assert dataset.num_classes == 2 and dataset.max_boxes == 2
    first, second = dataset.images
    assert (first.id, first.height, first.width, first.path) == (7, 40, 60, str(tmp_path / "a.png"))
    np.testing.assert_array_equal(first.boxes, np.float32([[1, 2, 4, 6], [10.5, 0, 30.5, 10]]))
    np.testing.assert_array_equal(first.classes, [1, 0])
    np.testing.assert_array_equal(first.areas, [6.5, 200])
    assert second.id == 0 and second.boxes.shape == (0, 4) and second.classes.shape == (0,)


def test_reads_a_file(content, tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps(content))
    assert len(load_coco(tmp_path / "coco.json", tmp_path).images) == 2


def test_class_names_set_the_order(content, tmp_path):
    dataset = load_coco(content, tmp_path, class_names=["dog", "cat"])
    assert dataset.category_ids == (90, 3)
    np.testing.assert_array_equal(dataset.images[0].classes, [0, 1])


def test_images_without_boxes_can_be_dropped(content, tmp_path):
    dataset = without_empty_images(load_coco(content, tmp_path))
    assert [record.id for record in dataset.images] == [7]
    (tmp_path / "b.png").write_bytes(b"")  # a training that goes on counts its images, bad ones too
    dataset = without_empty_images(load_coco(content, tmp_path, on_bad_image="skip"))
    assert [record.id for record in dataset.images] == [7] and not dataset.report.bad_images


def test_crowds_are_kept_apart(content, tmp_path):
    annotate(content, bbox=[0, 0, 30, 30], category_id=90, iscrowd=1)
    dataset = load_coco(content, tmp_path)
    first = dataset.images[0]
    assert len(first.boxes) == 2 and dataset.report.crowd_boxes == 1
    np.testing.assert_array_equal(first.crowd_boxes, [[0, 0, 30, 30]])
    np.testing.assert_array_equal(first.crowd_classes, [1])


def test_boxes_are_clipped(content, tmp_path):
    annotate(content, bbox=[-5, 30, 100, 30])
    dataset = load_coco(content, tmp_path)
    np.testing.assert_array_equal(dataset.images[0].boxes[2], [0, 30, 60, 40])
    assert dataset.report.clipped_boxes == 1


@pytest.mark.parametrize(
    "bbox",
    [[5, 5, 0, 4], [5, 5, 4, -1], [60, 5, 4, 4], [-9, 0, 5, 5], [float("nan"), 0, 5, 5], [0, 0, float("inf"), 5]],
)
def test_degenerate_boxes_are_reported_and_skipped(content, tmp_path, bbox, caplog):
    annotate(content, id=4321, bbox=bbox)
    dataset = load_coco(content, tmp_path)
    assert len(dataset.images[0].boxes) == 2
    assert dataset.report.degenerate_annotations == [4321]
    assert "4321" in caplog.text and "a.png" in caplog.text


def change(path, value):
    """An edit of the content: sets content[path[0]][path[1]][path[2]] or, for value None, removes it."""

    def apply(content):
        entry = content[path[0]] if len(path) == 1 else content[path[0]][path[1]]
        if value is None:
            del entry[path[-1]]
        else:
            entry[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    "edit, words",
    [
        (lambda c: annotate(c, id=5), ["annotation id 5", "twice"]),
        (lambda c: c["images"].append(c["images"][0]), ["image id 7", "twice"]),
        (lambda c: c["categories"].append({"id": 3, "name": "cow"}), ["category id 3", "twice"]),
        (lambda c: c["categories"].append({"id": 4, "name": "cat"}), ["3", "4", "'cat'"]),
        (lambda c: annotate(c, id=77, category_id=17), ["annotation 77", "category id 17"]),
        (lambda c: annotate(c, id=77, image_id=17), ["annotation 77", "image 17"]),
        (lambda c: annotate(c, id=77, bbox=[1, 2, 3]), ["annotation 77", "[1, 2, 3]"]),
        (lambda c: annotate(c, id=77, bbox=["1", 2, 3, 4]), ["annotation 77", "bbox"]),
        (change(["images", 0, "file_name"], None), ["image 7", "'file_name'"]),
        (change(["images", 0, "width"], 0), ["image 7", "a.png", "width"]),
        (change(["annotations", 1, "bbox"], None), ["annotation 5", "'bbox'"]),
        (change(["annotations", 1, "id"], None), ["annotation number 1", "'id'"]),
        (lambda c: c.update(annotations={}), ["'annotations'"]),
        (lambda c: c.pop("images"), ["'images'"]),
        (lambda c: c.update(categories=[]), ["no categories"]),
    ],
)
def test_errors_say_where(content, tmp_path, edit, words):
    edit(content)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(ValueError) as error:
        load_coco(tmp_path / "coco.json", tmp_path)
    for word in [*words, "coco.json"]:
        assert word in str(error.value)


def test_unknown_class_names(content, tmp_path):
    with pytest.raises(ValueError, match="cow, horse, none of which is a category.*cat, dog"):
        load_coco(content, tmp_path, class_names=["cow", "horse"])
    with pytest.raises(ValueError, match="annotation 0 is of category 'dog'"):
        load_coco(content, tmp_path, class_names=["cat"])


def test_a_class_that_the_file_lacks_is_said_and_not_trained(content, caplog):
    dataset = load_coco(content, None, class_names=["cat", "horse", "dog"])
    assert dataset.category_ids == (3, None, 90) and "has no category horse" in caplog.text
    with pytest.raises(ValueError, match="class_names has horse, which is no category of the annotations"):
        check_trainable(dataset)


def test_ids_are_kept_as_they_are(content):
    for image, image_id in zip(content["images"], ["IMG_1", 1.5]):
        image["id"] = image_id
    for annotation, annotation_id in zip(content["annotations"], [-1, "b1"]):
        annotation.update(id=annotation_id, image_id="IMG_1")
    dataset = load_coco(content, None)
    assert [record.id for record in dataset.images] == ["IMG_1", 1.5] and dataset.num_boxes == 2


def test_a_list_of_images_has_no_boxes(content, caplog):
    for annotations in ({}, {"annotations": None}):
        del content["annotations"]
        content.update(annotations)
        dataset = load_coco(content, None)
        assert len(dataset.images) == 2 and dataset.num_boxes == 0
        assert "has no annotations: detections on its images get no score" in caplog.text
        content["annotations"] = []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"iscrowd": 1}, ["Of its 2 annotations", '2 are groups ("iscrowd": 1)']),
        ({"bbox": [70, 0, 5, 5]}, ["2 lie outside their image"]),
        ({"bbox": [7, 0, 0, 5]}, ["2 have no width or height"]),
        ({"bbox": [0.25, 0.5, 0.5, 0.25]}, ["2 lie in 0..1, as if relative to their image, but must be in pixels"]),
        ({"bbox": [0.25, 0.5, 0.5, 0.25], "iscrowd": 1}, ["2 are groups"]),
    ],
)
def test_a_data_set_without_a_box_does_not_train(content, changes, words):
    for annotation in content["annotations"]:
        annotation.update(changes)
    dataset = load_coco(content, None)
    for start in (check_trainable, lambda dataset: training_batches(dataset, 2)):
        with pytest.raises(ValueError) as error:
            start(dataset)
        for word in ["the annotations cannot be trained on", *words]:
            assert word in str(error.value)


def test_a_data_set_whose_boxes_are_left_out_does_not_train(content, tmp_path):
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="Of its 2 annotations 2 belong to images that were left out"):
        check_trainable(load_coco(content, tmp_path, on_bad_image="skip"))


def test_some_boxes_in_0_to_1_are_said_once(content, caplog):
    for _ in range(2):
        annotate(content, bbox=[0, 0, 1, 1])
    dataset = load_coco(content, None)
    check_trainable(dataset)  # it is not most
    assert len(caplog.records) == 1 and "2 boxes lie in 0..1" in caplog.text and "annotation 102." in caplog.text


def test_one_file_as_several_images_is_said_once(content, tmp_path, caplog):
    content["images"] += [{**content["images"][0], "id": image_id, "file_name": "./a.png"} for image_id in (8, 9)]
    dataset = load_coco(content, tmp_path)
    assert dataset.report.repeated_images == [str(tmp_path / "a.png")] and len(dataset.images) == 4
    assert len(caplog.records) == 1 and "1 files are listed as several images" in caplog.text


def test_file_names_of_other_tools_are_mended_and_said_once(content, tmp_path, caplog):
    (tmp_path / "sub").mkdir()
    for image, name in zip(content["images"], ("my a.png", "b.png")):
        write_image(tmp_path / "sub" / name)
        image["file_name"] = f"sub\\{name.replace(' ', '%20')}"
    dataset = load_coco(content, tmp_path)
    assert [record.path for record in dataset.images] == [str(tmp_path / "sub" / n) for n in ("my a.png", "b.png")]
    assert len(caplog.records) == 1 and "2 file names were found only" in caplog.text


def test_a_file_name_that_leads_out_of_the_folder(content, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("../a.png", str(tmp_path / "a.png")):
        content["images"][0]["file_name"] = name
        with pytest.raises(ValueError, match="image 7 has the file name .* leads out"):
            load_coco(content, tmp_path / "images", on_bad_image="skip")
        assert load_coco(content, None).images[0].path == name


def test_files_that_are_not_coco(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json"):
        load_coco(tmp_path / "none.json", tmp_path)
    for text, words in (("{", "not valid JSON"), ("[]", "a list at its top")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=f"x.json.*{words}"):
            load_coco(tmp_path / "x.json", tmp_path)


def damage(path, kind):
    """Makes an image file of 40 x 60 one that cannot be used; returns what is said of it."""
    if kind == "missing":
        path.unlink()
        return "cannot be opened: No such file"
    if kind == "text":
        path.write_text("not an image")
        return "is no JPEG, PNG"
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:60])
        return "is cut short or damaged"
    write_image(path, height=60, width=40)
    return "is 40 x 60 pixels (width x height), but its annotations say 60 x 40"


@pytest.mark.parametrize("kind", ["missing", "text", "cut", "size"])
def test_bad_images_are_an_error_or_skipped(content, tmp_path, kind, caplog):
    said = damage(tmp_path / "b.png", kind)
    with pytest.raises(FileNotFoundError if kind == "missing" else ValueError) as error:
        load_coco(content, tmp_path)
    lines = str(error.value).splitlines()
    assert lines[0] == "1 of 2 images of the annotations cannot be used:"
    assert lines[1].startswith(f"  {tmp_path / 'b.png'} {said}") and len(lines) == 3
    assert lines[2].endswith("gfl-evaluate and gfl-make-tfrecords with --on_bad_image=skip.")
    dataset = load_coco(content, tmp_path, on_bad_image="skip")
    assert [record.id for record in dataset.images] == [7]
    assert [record.path for record in dataset.report.bad_images] == [str(tmp_path / "b.png")]
    assert f"Image skipped: {tmp_path / 'b.png'} {said}" in caplog.text
    assert len(load_coco(content, None).images) == 2


def test_all_bad_images_are_counted_and_the_first_named(content, tmp_path):
    content["images"] += [{"id": 10 + i, "file_name": f"{i}.png", "height": 4, "width": 6} for i in range(13)]
    with pytest.raises(FileNotFoundError, match="13 of 15 images") as error:
        load_coco(content, tmp_path)
    assert str(tmp_path / "9.png") in str(error.value) and str(tmp_path / "10.png") not in str(error.value)
    assert "\n  and 3 more\n" in str(error.value)


def test_nothing_left_is_an_error(content, tmp_path):
    for image in content["images"]:
        (tmp_path / image["file_name"]).write_bytes(b"")
    with pytest.raises(ValueError, match="leaves no image to use of 2. Of its 2 annotations 2 belong to images that"):
        load_coco(content, tmp_path, on_bad_image="skip")


@pytest.mark.parametrize("sizes", [(6, 7), (7, 6)])
def test_a_file_that_is_listed_twice_is_checked_against_each_size(content, tmp_path, sizes):
    """70 pixels are wrong, once as the first and once as the last of the two."""
    first = content["images"][0]
    content["images"] = [{**first, "id": index, "width": 10 * width} for index, width in enumerate(sizes)]
    content["annotations"] = []
    with pytest.raises(ValueError, match="1 of 2 images"):
        load_coco(content, tmp_path)
    dataset = load_coco(content, tmp_path, on_bad_image="skip")
    assert [record.width for record in dataset.images] == [60]
    assert [record.width for record in dataset.report.bad_images] == [70]


def test_real_data(shared):
    bccd = shared / "data" / "bccd"
    dataset = load_coco(bccd / "annotations" / "instances_train.json", bccd / "train")
    assert len(dataset.images) == 205
    assert dataset.class_names == ("RBC", "WBC", "Platelets")
    assert dataset.report.degenerate_annotations == [2288]
    assert sum(len(record.boxes) for record in dataset.images) == 2804

    mini = shared / "data" / "coco_mini"
    dataset = load_coco(mini / "annotations" / "instances_mini.json", mini / "mini")
    assert dataset.num_classes == 80 and dataset.category_ids[-1] == 90
    assert dataset.report.crowd_boxes == 1
    assert sum(len(record.boxes) for record in dataset.images) == 180
    assert [record.id for record in dataset.images if not len(record.boxes)] == [508]
