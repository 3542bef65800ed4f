"""What a training goes on from."""

import tensorflow as tf


class Checkpoints:
    """The checkpoints of a compiled model: weights, running metrics, and the optimizer with its count of steps.

    Args:
        model: compiled `keras.Model`.
        directory: path.
        keep: how many of the newest to keep.
        average: `WeightAverage` of the model, where there is one.
    """

    def __init__(self, model, directory, keep, average=None):
        # Made now, so that a checkpoint finds every variable that it restores.
        model.optimizer.build(model.trainable_variables)
        self._optimizer = model.optimizer
        parts = {"model": model, "optimizer": model.optimizer}
        if average is not None:
            parts["average"] = average.state
        checkpoint = tf.train.Checkpoint(**parts)
        self._manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=max(keep, 1))

    def save(self):
        self._manager.save(checkpoint_number=int(self._optimizer.iterations.numpy()))

    def restore_latest(self):
        """Takes over the newest checkpoint, where there is one.

        Raises:
            ValueError: it does not fit the model and the optimizer.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return
        try:
            self._manager.checkpoint.restore(latest).assert_existing_objects_matched()
        except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"the checkpoint {latest} does not fit this model and optimizer: it is damaged, or another version of "
                f"gfl_tf wrote it. Choose another --run_dir to start anew. ({error})"
            ) from error
