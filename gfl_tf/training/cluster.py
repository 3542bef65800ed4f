"""Several processes, each on a machine of its own or not, that train one model together: its workers.

All workers run the same program. What one of them decides, such as worker 0 from the files of the run directory, it
tells the others; collective calls (`Workers.gather` and those that say so) are made by all of them, in one order.
"""

import contextlib
import pickle

import numpy as np
import tensorflow as tf

# Steps, or batches of an evaluation, between two looks at whether a worker was told to stop.
AGREE_EVERY = 10
# What TensorFlow raises on the others when a worker is gone: at once where its process ended, after some 10 seconds
# without a sign of life.
LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError, tf.errors.CancelledError)


class WorkerLostError(RuntimeError):
    """Another worker of the job ended, or is not heard of any more."""


class Workers:
    """The workers of a strategy; a single one for all strategies but "multi_worker".

    Args:
        strategy: a `tf.distribute.Strategy`; default: none.

    Attributes:
        strategy: that of the job.
        index, count: which worker this process is, from 0, and how many there are.
    """

    def __init__(self, strategy=None):
        self.strategy = strategy
        self.index, self.count = 0, 1
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return
        resolver = strategy.cluster_resolver
        members = [(job, task) for job in ("chief", "worker") for task in _tasks(resolver.cluster_spec(), job)]
        self.index, self.count = members.index((resolver.task_type, resolver.task_id)), len(members)
        local_replicas = strategy.num_replicas_in_sync // self.count

        def of_first_replica(value):
            context = tf.distribute.get_replica_context()
            is_first = context.replica_id_in_sync_group % local_replicas == 0
            return context, value * tf.cast(is_first, value.dtype)

        def gathered(words):
            context, words = of_first_replica(words)
            return context.all_gather(words, axis=0)

        def summed(values):
            context, values = of_first_replica(values)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

        def on_first(function, dtype):
            whole = tf.function(
                lambda value: strategy.experimental_local_results(strategy.run(function, (value,)))[0],
                input_signature=[tf.TensorSpec([None], dtype)],
                autograph=False,
            )
            return lambda value: whole(value).numpy()

        self._local_replicas = local_replicas
        self._gathered = on_first(gathered, tf.int64)
        self._summed = {dtype: on_first(summed, dtype) for dtype in (tf.float32, tf.int64)}

    @property
    def is_first(self):
        """Whether this is worker 0, which alone writes into the run directory."""
        return self.index == 0

    def gather(self, value):
        """[the value of worker 0, of worker 1, ...], anything that can be pickled. Collective."""
        if self.count == 1:
            return [value]
        content = pickle.dumps(value)
        words = np.frombuffer(content + bytes(-len(content) % 8), np.int64)
        words = self._gathered(np.concatenate([[len(content)], words]))
        values = []
        for position in range(self.count * self._local_replicas):
            length = int(words[0])
            end = 1 + -(-length // 8)
            # Each replica sends the same number of words; those of all but a worker's first are zeros.
            if position % self._local_replicas == 0:
                values.append(pickle.loads(words[1:end].tobytes()[:length]))
                size = end
            words = words[size:]
        return values

    def of_first(self, value):
        """What worker 0 hands in. Collective."""
        return self.gather(value if self.is_first else None)[0]

    def assign_of_first(self, variables, arrays):
        """Gives each of {name: tf.Variable} the array of its name that worker 0 has; others need none. Collective."""
        for name, variable in variables.items():
            if self.count == 1:
                variable.assign(arrays[name])
                continue
            shape, dtype = tuple(variable.shape), tf.as_dtype(variable.dtype)
            wide = tf.int64 if dtype.is_integer else tf.float32
            array = arrays[name] if self.is_first else np.zeros(shape)
            values = self._summed[wide](np.asarray(array, wide.as_numpy_dtype).reshape(-1))
            variable.assign(values.reshape(shape).astype(dtype.as_numpy_dtype))

    def check_same(self, values):
        """Raises ValueError on all workers unless all hand in the same {name: value}. Collective."""
        of_all = self.gather(values)
        for index, others in enumerate(of_all):
            different = [name for name in values if others.get(name) != of_all[0].get(name)]
            if different:
                name = different[0]
                raise ValueError(
                    f"{name} is {others.get(name)!r} on worker {index} and {of_all[0].get(name)!r} on worker 0: start "
                    "all of them with the same command, the same version of gfl_tf and the same files"
                )

    @contextlib.contextmanager
    def named_errors(self, remedy):
        """Context in which a lost worker raises WorkerLostError, whose message ends with `remedy`."""
        try:
            yield
        except LOST as error:
            if self.count == 1:
                raise
            reason = error.message.split("aborted by: ")[-1].splitlines()[0]
            raise WorkerLostError(
                f"worker {self.index} of {self.count} stops, as another one ended or is not heard of any more "
                f"({reason}). What that one printed last says why. {remedy}"
            ) from error


def _tasks(cluster_spec, job):
    return cluster_spec.task_indices(job) if job in cluster_spec.jobs else []


class AgreedStop:
    """A `StopRequest` to any of the workers that all of them follow at the same place.

    Args:
        request: the `StopRequest` of this process.
        workers: `Workers`.
    """

    def __init__(self, request, workers):
        self._request = request
        self._workers = workers
        self._agreed = None

    @property
    def signal(self):
        """Number of the signal after which to stop, or None; the same on all workers."""
        return self._request.signal if self._workers.count == 1 else self._agreed

    def look(self, number):
        """`signal`, anew; collective in every `AGREE_EVERY`th `number`, of steps or of batches."""
        if self._workers.count > 1 and not self._agreed and number % AGREE_EVERY == 0:
            self._agreed = next(filter(None, self._workers.gather(self._request.signal)), None)
        return self.signal


def detect_function(model, strategy):
    """`model.detect` as one graph that a worker of `strategy` runs by itself, on the state that its replicas have."""
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    detect = tf.function(lambda images: strategy.run(model.detect, (images,)), signature, autograph=False)

    def of_first_replica(images):
        return {name: strategy.experimental_local_results(value)[0] for name, value in detect(images).items()}

    return of_first_replica
