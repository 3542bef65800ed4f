"""The batch of the extracts in data/: two images of different sizes and their ground truth. NumPy only."""

import zlib

import numpy as np

CANVAS = (256, 320)  # height, width
# Neither square nor of one size; the second's own padding (256 x 288) is neither its size nor the canvas.
IMAGE_SHAPES = ((256, 320), (250, 281))
MEAN = (123.675, 116.28, 103.53)  # RGB in 0..255
STD = (58.395, 57.12, 57.375)
# Of the published models: mean and standard deviation, RGB, and whether the network's first channel is blue.
PIXELS = {
    "rgb": (MEAN, STD, False),
    "detectron": ((122.7717, 115.9465, 102.9801), (1.0, 1.0, 1.0), True),
    "msra": (MEAN, (1.0, 1.0, 1.0), True),
}
CHECKSUM = 1548820196  # of the images: the random stream is the one that the extracts were made with

BOXES = (
    [
        (101.3, 61.7, 107.3, 66.7),  # tiny
        (203.2, 33.1, 206.1, 35.3),  # tinier than a cell of P3
        (40.2, 90.7, 118.9, 170.4),  # overlaps the next one, of the same class
        (47.6, 97.1, 126.3, 178.8),
        (43.9, 88.3, 131.4, 160.2),  # and both, of another class
        (262.4, 150.8, 320.0, 214.3),  # touches the right border
        (0.0, 190.7, 61.3, 256.0),  # fills the lower left corner
        (0.0, 0.0, 317.3, 252.6),  # nearly the whole image
        (130.5, 200.2, 291.1, 216.9),  # long and thin
    ],
    [
        (30.4, 40.9, 120.7, 133.2),
        (170.1, 60.3, 281.0, 201.6),  # touches the image's right border, not the canvas's
        (212.7, 228.4, 219.2, 250.0),  # tiny, touches the lower one
    ],
)
CLASSES = ([3, 17, 40, 40, 7, 79, 0, 12, 55], [40, 61, 2])

# Which images keep their boxes.
CASES = {"main": (0, 1), "empty1": (0,), "allempty": ()}


def images():
    """The two images, uint8 RGB: coarse blocks under noise, all in integers so that they are the same everywhere."""
    rng = np.random.default_rng(20)
    result = []
    for height, width in IMAGE_SHAPES:
        coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).repeat(16, 0).repeat(16, 1)
        noise = rng.integers(0, 256, (height, width, 3))
        result.append(((coarse[:height, :width] + noise) // 2).astype(np.uint8))
    return result


def checksum(arrays):
    return zlib.crc32(b"".join(array.tobytes() for array in arrays))


def ground_truth(case):
    """(boxes, classes) of each image, arrays [n, 4] and [n]."""
    result = []
    for image, (boxes, classes) in enumerate(zip(BOXES, CLASSES)):
        keep = slice(None) if image in CASES[case] else slice(0)
        result.append((np.array(boxes, np.float32)[keep], np.array(classes, np.int64)[keep]))
    return result
