"""TF_CONFIG, from Slurm's and Kubernetes' environment, and the examples in docs/cluster."""

import json
import os
from pathlib import Path

import pytest
import yaml

from gfl_tf.training import cluster_config

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "cluster"
SLURM = {
    "SLURM_JOB_ID": "17",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[2,10]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Function that sets variables; of those that matter here, all others are unset."""
    for name in list(os.environ):
        if name.startswith(("SLURM", "GFL_TF_", "POD_NAME", "TF_CONFIG")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TF_CONFIG", "")  # what `set_up` sets is undone

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


def test_tf_config_as_it_is(environment):
    assert cluster_config.num_workers() == 0
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    assert cluster_config.num_workers() == 3 and cluster_config.set_up() == "TF_CONFIG"


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is '{', which is no JSON of a cluster"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}', "TF_CONFIG has tasks 'ps'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "which is none of its cluster"),
    ],
)
def test_tf_config_that_cannot_be_used(environment, text, message):
    environment(TF_CONFIG=text)
    with pytest.raises(ValueError, match=message):
        cluster_config.num_workers()


def test_without_a_cluster():
    with pytest.raises(
        ValueError, match="--strategy=multi_worker needs to know the workers: set TF_CONFIG, start with"
    ):
        cluster_config.set_up()


# Slurm counts tasks in the order of its node list; TensorFlow's resolver puts gpu10 before gpu2.
@pytest.mark.parametrize("rank, node, local, index", [(0, "gpu2", 0, 2), (1, "gpu2", 1, 3), (3, "gpu10", 1, 1)])
def test_slurm(environment, rank, node, local, index):
    environment(**SLURM, SLURM_PROCID=str(rank), SLURMD_NODENAME=node, SLURM_LOCALID=str(local))
    assert cluster_config.set_up() == "Slurm"
    found = json.loads(os.environ["TF_CONFIG"])
    assert found["cluster"] == {"worker": ["gpu10:12136", "gpu10:12137", "gpu2:12136", "gpu2:12137"]}
    assert found["task"] == {"type": "worker", "index": index} and cluster_config.num_workers() == 4


def test_slurm_with_a_node_that_is_not_in_the_step(environment):
    environment(**SLURM, SLURM_PROCID="0", SLURMD_NODENAME="gpu3", SLURM_LOCALID="0")
    with pytest.raises(ValueError, match="this task is gpu3:12136 by SLURMD_NODENAME"):
        cluster_config.set_up()


def test_kubernetes(environment):
    environment(POD_NAME="gfl-train-1", GFL_TF_SERVICE="gfl-train", GFL_TF_WORKERS="2")
    assert cluster_config.set_up() == "Kubernetes"
    found = json.loads(os.environ["TF_CONFIG"])
    assert found["cluster"] == {"worker": ["gfl-train-0.gfl-train:2222", "gfl-train-1.gfl-train:2222"]}
    assert found["task"] == {"type": "worker", "index": 1}


@pytest.mark.parametrize("pod, count", [("gfl-train", "2"), ("gfl-train-2", "2"), ("gfl-train-0", "two")])
def test_kubernetes_with_a_pod_that_cannot_be(environment, pod, count):
    environment(POD_NAME=pod, GFL_TF_SERVICE="gfl-train", GFL_TF_WORKERS=count)
    with pytest.raises(ValueError, match="a pod of a StatefulSet is called NAME-0"):
        cluster_config.set_up()


def test_the_statefulset_says_who_its_pods_are(environment):
    service, pods = yaml.safe_load_all((EXAMPLES / "statefulset.yaml").read_text())
    container = pods["spec"]["template"]["spec"]["containers"][0]
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert tuple(given) == cluster_config.KUBERNETES
    assert given["GFL_TF_SERVICE"] == service["metadata"]["name"] == pods["spec"]["serviceName"]
    assert int(given["GFL_TF_WORKERS"]) == pods["spec"]["replicas"]
    assert service["spec"]["ports"][0]["port"] == cluster_config.PORT
