"""From raw outputs to the candidates of detections: the best points of each level, decoded."""

import typing

import tensorflow as tf

from gfl_tf.detectors.decoder import PredictionDecoder


def decoded(
    model: typing.Any,
    outputs: dict[str, tf.Tensor],
    canvas_shape: tf.Tensor,
    image_shape: tf.Tensor | None,
    with_outputs: bool,
    decoder: PredictionDecoder,
) -> dict[str, typing.Any]:
    """`Detector.candidates`."""
    grid = model.grid.on(canvas_shape, image_shape)
    ranking = model.score.ranking(outputs, decoder.candidates == "pairs")
    index = decoder.select_points(ranking, grid.level_sizes)
    outputs = {name: tf.gather(value, index, batch_dims=1) for name, value in outputs.items()}
    candidates = model.decode_candidates(outputs, grid.places.at(index))

    limit = tf.cast(tf.tile(tf.reverse(grid.image_shape, [1]), [1, 2]), tf.float32)[:, tf.newaxis]  # [B or 1, 1, 4]
    candidates["boxes"] = tf.clip_by_value(candidates["boxes"], 0.0, limit)
    if model.edge_calibration and "edge_stddev" in candidates:
        candidates.update(model.edge_calibration(candidates["edge_stddev"], candidates["boxes"]))
    scores, factors = model.score.scores(outputs), model.score.factors(outputs)
    is_chosen = decoder.select_pairs(candidates["boxes"], scores, grid.level_sizes)
    scores = scores if factors is None else scores * factors
    # A product, as TensorFlow Lite rounds what `tf.where` takes to 8 bits in an int8 file.
    candidates["scores"] = scores * tf.cast(is_chosen, scores.dtype)
    if with_outputs:
        points_px, point_strides, _ = grid.places.at(index)
        candidates.update(points_px=points_px, point_strides=point_strides, outputs=outputs)
    return candidates
