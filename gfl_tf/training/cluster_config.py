"""Which processes make up a job, as TensorFlow takes it from TF_CONFIG: there already, or made from the environment of
Slurm or of a Kubernetes StatefulSet."""

import json
import os
import re

import tensorflow as tf

VARIABLE = "TF_CONFIG"
# Of a StatefulSet, set by its manifest: the pod's name, the headless service, how many pods there are, and a port.
KUBERNETES = ("POD_NAME", "GFL_TF_SERVICE", "GFL_TF_WORKERS")
PORT = 2222
# Jobs on one node must not meet: Slurm's number of the job is added. Below the ports that Linux hands out itself.
SLURM_PORTS = range(12000, 32000)
MOST_TASKS_PER_NODE = 1024


def num_workers() -> int:
    """How many workers TF_CONFIG names; 0: it is not set.

    Raises:
        ValueError: it cannot be used; says why.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return 0
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        sizes = {job: len(addresses) for job, addresses in cluster.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"the environment variable {VARIABLE} is {text!r}, which is no JSON of a cluster") from error
    others = sorted(set(sizes) - {"chief", "worker"})
    if others:
        raise ValueError(f"{VARIABLE} has tasks {others[0]!r}: gfl_tf trains on 'chief' and 'worker' alone")
    if sizes and not 0 <= task.get("index", -1) < sizes.get(task.get("type"), 0):
        raise ValueError(f"{VARIABLE} has the task {task}, which is none of its cluster {cluster}")
    return sum(sizes.values())


def set_up() -> str:
    """Sets TF_CONFIG where it is not set.

    Returns:
        Where it is from: "TF_CONFIG", "Slurm" or "Kubernetes".

    Raises:
        ValueError: none of these says who the workers are.
    """
    if num_workers():
        return VARIABLE
    if "SLURM_STEP_NODELIST" in os.environ:
        found, source = _of_slurm(), "Slurm"
    elif all(name in os.environ for name in KUBERNETES):
        found, source = _of_kubernetes(), "Kubernetes"
    else:
        raise ValueError(
            "--strategy=multi_worker needs to know the workers: set TF_CONFIG, start with Slurm's srun, or set "
            f"{', '.join(KUBERNETES)} in a StatefulSet; docs/cluster/README.md has examples"
        )
    os.environ[VARIABLE] = json.dumps(found)
    return source


def _of_slurm():
    environment = os.environ
    job = int(environment.get("SLURM_JOB_ID", 0))
    port = SLURM_PORTS[job * 8 % len(SLURM_PORTS)]
    try:
        # GPUs are given out by Slurm itself (srun --gpus-per-task).
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, gpus_per_node=MOST_TASKS_PER_NODE, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = resolver.cluster_spec().as_dict()["worker"]
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the workers cannot be had from Slurm's environment: {error}") from error
    # The resolver sorts hosts by name, n10 before n2, and Slurm does not: a task is found by its address, not its rank.
    own = f"{environment.get('SLURMD_NODENAME')}:{port + int(environment.get('SLURM_LOCALID', 0))}"
    if own not in addresses:
        raise ValueError(f"this task is {own} by SLURMD_NODENAME and SLURM_LOCALID, and none of {', '.join(addresses)}")
    return _config(addresses, addresses.index(own))


def _of_kubernetes():
    pod, service, count = (os.environ[name] for name in KUBERNETES)
    found = re.fullmatch(r"(.+)-(\d+)", pod)
    if not found or not count.isdecimal() or int(found[2]) >= int(count):
        raise ValueError(
            f"POD_NAME is {pod!r} and GFL_TF_WORKERS {count!r}: a pod of a StatefulSet is called NAME-0 to NAME-(N - 1)"
        )
    port = os.environ.get("GFL_TF_PORT", PORT)
    addresses = [f"{found[1]}-{index}.{service}:{port}" for index in range(int(count))]
    return _config(addresses, int(found[2]))


def _config(addresses, index):
    return {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
