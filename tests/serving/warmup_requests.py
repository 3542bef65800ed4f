"""The requests in a file that `gfl_tf.serving.warmup` wrote."""

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from gfl_tf.serving import warmup


def read(version_dir):
    """The list of `PredictRequest` of an exported version."""
    records = tf.data.TFRecordDataset(str(version_dir / warmup.PATH)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    assert [log.WhichOneof("log_type") for log in logs] == ["predict_log"] * len(logs)
    return [log.predict_log.request for log in logs]
