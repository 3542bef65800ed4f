"""Follows shapes through synthetic videos by Kalman filters: does it help to say how sure each edge is?

    pip install filterpy scipy
    python docs/track_shapes.py --run_dir=runs/gflv2_shapes

Every shape has a filter over its four sides and their velocities (constant velocity, white acceleration). The filter
must know how far a detection's sides may be off. Three trackers differ in that alone: one number for all sides, as
usual; the spread that the detector states of each side, times a factor; that spread as it is. The numbers and factors
are those that bring the tracks nearest to the truth on other videos. docs/uncertainty.md has the table that it prints.
"""

import itertools
import math

import numpy as np
import tensorflow as tf
from absl import app, flags
from filterpy.common import Q_discrete_white_noise
from filterpy.kalman import KalmanFilter
from PIL import Image, ImageDraw
from scipy.optimize import linear_sum_assignment

from gfl_tf import detections
from gfl_tf.data import images as image_ops
from gfl_tf.data import shape_scenes
from gfl_tf.evaluation import coco
from gfl_tf.training import run_dir

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "Run that was trained on shapes, best one that gfl-calibrate was run on.")
flags.DEFINE_integer("videos", 20, "How many to track, and as many others to tune on.", lower_bound=1)
flags.DEFINE_integer("frames", 60, "Of each.", lower_bound=1)

ACCELERATIONS = (0.05, 0.2, 0.8)  # variances that are tried, in pixels^2 per frame^4
CONSTANTS = (0.7, 1.0, 1.4, 2.0, 2.8)  # standard deviations of a side that are tried, in pixels
FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # of the stated spread
MIN_SCORE = 0.4
MIN_IOU = 0.3  # of a detection with the prediction of its track
MAX_MISSED = 5  # frames in a row after which a track ends
MIN_HITS = 3  # frames after which a track counts
SUPERSAMPLING = 4


# The videos: the shapes of a scene, each moving and turning on its own, before a background that stays.


def make_video(rng, num_frames, image_size):
    """(frames uint8 [T, H, W, 3], [boxes [N, 4] of what is seen of each shape, bool [N] seen by half or more] * T)."""
    shapes = []
    while not 3 <= len(shapes) <= 6:
        shapes = shape_scenes.sample_scene(rng, image_size).shapes
    empty = shape_scenes.Scene([], [], np.full(image_size, -1, np.int16))
    background = shape_scenes.paint_scene(rng, empty).astype(np.float32)
    colours = [_colour(rng, background.mean(axis=(0, 1))) for _ in shapes]
    centres = np.array([shape.outline.mean(axis=0) for shape in shapes])
    velocities, angles, turns = rng.normal(0, 2, centres.shape), np.zeros(len(shapes)), rng.normal(0, 0.02, len(shapes))
    positions = centres.copy()
    frames, truth = [], []
    for _ in range(num_frames):
        masks = [_mask(*moved, image_size) for moved in zip(shapes, centres, positions, angles)]
        frame, owner = background.copy(), np.full(image_size, -1)
        for index, (mask, colour) in enumerate(zip(masks, colours)):
            frame += mask[..., np.newaxis] * (colour - frame)
            owner[mask > 0.5] = index
        frame += rng.normal(0, 4, frame.shape)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
        truth.append(_seen(owner, masks))
        velocities += rng.normal(0, 0.3, velocities.shape)
        outside = (positions + velocities < 0) | (positions + velocities > image_size[::-1])
        velocities[outside] *= -1
        positions, angles = positions + velocities, angles + turns
    return np.stack(frames), truth


def _colour(rng, background):
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - background) > 80:
            return colour.astype(np.float32)


def _mask(shape, centre, position, angle, image_size):
    """float32 [H, W]: how much of each pixel the shape covers, moved from its centre and turned about it."""
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    picture = Image.new("L", tuple(side * SUPERSAMPLING for side in image_size[::-1]))
    for outline, value in ((shape.outline, 255), (shape.hole, 0)):
        if outline is not None:
            points = ((outline - centre) @ rotation + position) * SUPERSAMPLING - 0.5
            ImageDraw.Draw(picture).polygon(points.ravel().tolist(), fill=value)
    return np.asarray(picture.reduce(SUPERSAMPLING), np.float32) / 255


def _seen(owner, masks):
    boxes, is_seen = np.zeros([len(masks), 4]), np.zeros(len(masks), bool)
    for index, mask in enumerate(masks):
        rows, columns = np.nonzero(owner == index)
        if len(rows):
            boxes[index] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            is_seen[index] = len(rows) > 0.5 * (mask > 0.5).sum() and (np.ptp(rows), np.ptp(columns)) >= (6, 6)
    return boxes, is_seen


def detections_of(frames, detect, scale):
    """Those of each frame, in its pixels; `detect`: of `coco.detect_function`."""
    found = []
    for batch in np.array_split(frames, math.ceil(len(frames) / 8)):
        resized = image_ops.resize_keep_ratio(tf.cast(batch, tf.float32), scale)
        shapes = batch.shape[1:3], tf.shape(resized)[1:3]
        of_batch = detections.to_original(detect(resized), *shapes)
        found += [detections.of_image(of_batch, index) for index in range(len(batch))]
    return [detections.select(of_frame, of_frame["confidence"] > MIN_SCORE) for of_frame in found]


# The tracker.


class Track:
    """A Kalman filter over four sides and their velocities."""

    def __init__(self, number, box, label, stddev, acceleration):
        self.number, self.label, self.hits, self.missed = number, label, 1, 0
        self.filter = KalmanFilter(dim_x=8, dim_z=4)
        self.filter.x[:4, 0] = box
        self.filter.F = np.eye(8) + np.eye(8, k=4)
        self.filter.H = np.eye(4, 8)
        self.filter.P = np.diag([*stddev**2, *[10.0] * 4])
        self.filter.Q = Q_discrete_white_noise(2, 1.0, acceleration, block_size=4, order_by_dim=False)

    @property
    def box(self):
        return self.filter.x[:4, 0]

    def update(self, box, stddev):
        self.filter.update(box, R=np.diag(stddev**2))
        self.hits, self.missed = self.hits + 1, 0


def track(found, stddev_of, acceleration):
    """[[(number of the track, its box)] of each frame], of detections; `stddev_of`: of a frame's detections, [N, 4]."""
    tracks, numbers, shown = [], itertools.count(), []
    for of_frame in found:
        for one in tracks:
            one.filter.predict()
        overlaps = iou(np.array([one.box for one in tracks]).reshape(-1, 4), of_frame["boxes"])
        overlaps *= np.array([one.label for one in tracks])[:, np.newaxis] == of_frame["classes"]
        pairs = {
            column: row for row, column in zip(*linear_sum_assignment(-overlaps)) if overlaps[row, column] > MIN_IOU
        }
        for one in tracks:
            one.missed += 1
        for index, stddev in enumerate(stddev_of(of_frame)):
            box = of_frame["boxes"][index]
            if index in pairs:
                tracks[pairs[index]].update(box, stddev)
            else:
                tracks.append(Track(next(numbers), box, of_frame["classes"][index], stddev, acceleration))
        tracks = [one for one in tracks if one.missed <= MAX_MISSED]
        shown.append([(one.number, one.box.copy()) for one in tracks if not one.missed and one.hits >= MIN_HITS])
    return shown


def iou(boxes, others):
    """[N, M]."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=-1)
    areas = [np.maximum(some[:, 2:] - some[:, :2], 0).prod(axis=-1) for some in (boxes, others)]
    return both / np.maximum(areas[0][:, np.newaxis] + areas[1] - both, 1e-6)


# The score.


def score(videos, shown):
    """{"error": root mean square over sides in pixels, "switches", "MOTA" (Bernardin and Stiefelhagen, 2008)}.

    A shape that is hidden by more than half neither has to be tracked nor counts as false.
    """
    errors, switches, missed, false, objects = [], 0, 0, 0, 0
    for (_, truth), of_video in zip(videos, shown):
        last = {}
        for (boxes, is_seen), of_frame in zip(truth, of_video):
            overlaps = iou(boxes, np.array([box for _, box in of_frame]).reshape(-1, 4))
            pairs = [pair for pair in zip(*linear_sum_assignment(-overlaps)) if overlaps[pair] >= 0.5]
            false += len(of_frame) - len(pairs)
            pairs = [pair for pair in pairs if is_seen[pair[0]]]
            objects, missed = objects + is_seen.sum(), missed + is_seen.sum() - len(pairs)
            for row, column in pairs:
                number, box = of_frame[column]
                errors.append(box - boxes[row])
                switches += last.get(row, number) != number
                last[row] = number
    rms = np.sqrt(np.mean(np.square(errors)))
    return {"error": rms, "switches": int(switches), "MOTA": 1 - (missed + false + switches) / objects}


TRACKERS = {
    "one number": (CONSTANTS, lambda value: lambda found: np.full_like(found["boxes"], value)),
    "spread of the edges, times a factor": (FACTORS, lambda value: lambda found: found["edge_stddev"] * value),
    "spread of the edges as it is": ((1.0,), lambda value: lambda found: found["edge_stddev"] * value),
}


def run(videos, found, name, value, acceleration):
    stddev_of = TRACKERS[name][1](value)
    return score(videos, [track(of_video, stddev_of, acceleration) for of_video in found])


def main(_):
    model, config = run_dir.load_run(FLAGS.run_dir)
    detect = coco.detect_function(model)
    sets = []
    for first in (0, FLAGS.videos):
        seeds = range(first, first + FLAGS.videos)
        videos = [
            make_video(np.random.default_rng(seed), FLAGS.frames, tuple(config.data.shapes.image_size))
            for seed in seeds
        ]
        sets.append((videos, [detections_of(frames, detect, config.data.scale) for frames, _ in videos]))
    tuning, test = sets
    print("| how far detections may be off | tuned | error, px | identity switches | MOTA |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, (values, _) in TRACKERS.items():
        tried = list(itertools.product(values, ACCELERATIONS))
        best = min(tried, key=lambda settings: run(*tuning, name, *settings)["error"])
        scored = run(*test, name, *best)
        print(f"| {name} | {best} | {scored['error']:.3f} | {scored['switches']} | {scored['MOTA']:.4f} |", flush=True)


if __name__ == "__main__":
    flags.mark_flag_as_required("run_dir")
    app.run(main)
