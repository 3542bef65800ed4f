"""What a training goes on from: the same files with Keras 2 and Keras 3."""

import tensorflow as tf

from gfl_tf import compat, quiet


class Checkpoints:
    """The checkpoints of a compiled model: weights, running metrics, and the optimizer with its count of steps.

    Args:
        model: compiled detector.
        variables: {name: variable} of the model, see `weight_file.named_variables`.
        directory: path.
        keep: how many of the newest to keep.
        average: `MovingAverage` or `WeightAverage` of the model, where there is one.
    """

    def __init__(self, model, variables, directory, keep, average=None):
        # Made now, so that a checkpoint finds every variable that it restores.
        model.optimizer.build(model.trainable_variables)
        self._optimizer = model.optimizer
        # All by names of our own: Keras 2 and Keras 3 lay out their objects differently, and leave different parts of
        # them out.
        names = {id(variable): name for name, variable in variables.items()}
        trained = [names[id(variable)] for variable in model.trainable_variables]
        metrics = {
            f"{metric.name}/{name}": variable
            for metric in model.metrics
            for name, variable in zip(("total", "count"), metric.variables)
        }
        checkpoint = tf.train.Checkpoint(
            weights={name: compat.tf_variable(variable) for name, variable in variables.items()},
            metrics={name: compat.tf_variable(variable) for name, variable in metrics.items()},
            optimizer=compat.optimizer_state(model.optimizer, trained),
            average={} if average is None else average.state,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=max(keep, 1))

    def save(self):
        with quiet.absl():  # TensorFlow tells there how long a part of it took
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
