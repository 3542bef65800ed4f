"""One tiny data set, written in every format: two images with three boxes, and one without."""

import json

import numpy as np
from PIL import Image

SIZES = {"a.png": (60, 40), "b.png": (50, 80), "empty.png": (20, 20)}  # width, height
CLASSES = ("cat", "dog")
# (image, class, xyxy in pixels): edges that YOLO's six digits and VOC's whole numbers keep.
BOXES = (("a.png", "dog", (6, 4, 36, 24)), ("a.png", "cat", (0, 0, 60, 40)), ("b.png", "cat", (10, 8, 20, 72)))


def write_image(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full([size[1], size[0], 3], 90, np.uint8)).save(path)


def write_images(folder):
    for name, size in SIZES.items():
        write_image(folder / name, size)


def boxes_of(image):
    return [(name, box) for file, name, box in BOXES if file == image]


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_coco(path, images):
    write_images(images)
    content = {
        "images": [
            {"id": index, "file_name": name, "width": width, "height": height}
            for index, (name, (width, height)) in enumerate(SIZES.items(), 1)
        ],
        "annotations": [
            {
                "id": index,
                "image_id": 1 + list(SIZES).index(file),
                "category_id": 1 + CLASSES.index(name),
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            }
            for index, (file, name, box) in enumerate(BOXES, 1)
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(CLASSES, 1)],
    }
    return write_text(path, json.dumps(content))


def voc_object(name, box, difficult=0):
    keys = ("xmin", "ymin", "xmax", "ymax")
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def write_voc(annotations, images):
    write_images(images)
    for file, (width, height) in SIZES.items():
        objects = [voc_object(name, (b[0] + 1, b[1] + 1, *b[2:])) for name, b in boxes_of(file)]
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        text = f"<annotation><filename>{file}</filename>{size}{''.join(objects)}</annotation>"
        write_text(annotations / file.replace(".png", ".xml"), text)
    return annotations


def write_labels(labels, images):
    """YOLO's text files; the image without boxes has none."""
    write_images(images)
    for file, (width, height) in SIZES.items():
        lines = [
            f"{CLASSES.index(name)} {(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
            f" {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}"
            for name, (x1, y1, x2, y2) in boxes_of(file)
        ]
        if lines:
            write_text(labels / file.replace(".png", ".txt"), "\n".join(lines))


def write_yolo(folder, part="train", text="train: train/images\nnames: [cat, dog]\nnc: 2\n"):
    write_labels(folder / part / "labels", folder / part / "images")
    return write_text(folder / "data.yaml", text)


def write_csv(path, images):
    write_images(images)
    rows = [f"{file},{SIZES[file][0]},{SIZES[file][1]},{name},{','.join(map(str, box))}" for file, name, box in BOXES]
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    return write_text(path, "\n".join([header, *rows, "empty.png,20,20,,,,,", ""]))
