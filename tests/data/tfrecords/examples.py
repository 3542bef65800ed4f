"""Small data sets of image files, and their TFRecords."""

import numpy as np
from PIL import Image

from gfl_tf.data.coco import load_coco
from gfl_tf.data.tfrecords import writing

NUM_IMAGES = 10


def write_files(folder):
    """Images, and their COCO dict: ids that are texts, crowds, images without boxes, one that EXIF turns, WebP."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(NUM_IMAGES):
        height, width = (40, 60) if number % 3 else (60, 40)
        name = f"Ä {number}.{'webp' if number == 4 else 'png'}"
        exif = Image.Exif()
        if number == 5:
            exif[0x0112] = 6
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / name, exif=exif)
        size = {"height": width, "width": height} if number == 5 else {"height": height, "width": width}
        images.append({"id": f"image {number}", "file_name": name, **size})
        for place in range(number % 4):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": f"image {number}",
                    "category_id": (7, 3)[place % 2],
                    "bbox": [2.5 + place, 3, 12, 10.25],
                    "area": 77 + place,
                    "iscrowd": int(place == 2),
                }
            )
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def make_files(folder):
    """The data set of `write_files`."""
    return load_coco(write_files(folder), folder, source="a.json")


def make_records(folder, num_shards=3):
    """(data set of files, folder of their TFRecords)."""
    (folder / "files").mkdir()
    dataset = make_files(folder / "files")
    writing.write(dataset, folder / "records", num_shards)
    return dataset, folder / "records"
