from gfl_tf.checkpoints.mmdet import load_mmdet
