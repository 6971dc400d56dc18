"""What a job asks of SLURM: the lines of the submitted script, for several configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from submitit.slurm.slurm import _make_sbatch_string

from medtrain.config.compose import compose
from medtrain.core.errors import UsageError
from medtrain.launch.slurm.cluster import Cluster
from medtrain.launch.sweep import check_cluster, chosen


def config(devices: Any = "auto", workers: int = 4, nodes: int = 1, accelerator: str = "auto") -> dict[str, Any]:
    trainer = {"devices": devices, "num_nodes": nodes, "accelerator": accelerator}
    return {"trainer": trainer, "data": {"num_workers": workers}}


def lines(cluster: Cluster, cfg: dict[str, Any], node_cpus: int | None = 64) -> set[str]:
    """The #SBATCH lines that submitit makes of it."""
    text = _make_sbatch_string(command="true", folder=Path("f"), **cluster.options(cfg, "job", node_cpus))
    return {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")}


def test_nothing_that_was_not_asked_for() -> None:
    found = lines(Cluster(), config())
    names = {line.partition("=")[0] for line in found}
    assert names == set("job-name nodes ntasks-per-node cpus-per-task signal open-mode output requeue".split())
    assert {"nodes=1", "ntasks-per-node=1", "cpus-per-task=5", "signal=USR2@120", "requeue"} <= found


def test_all_that_was_asked_for() -> None:
    extra = ["qos=long", "--constraint=a100", "#SBATCH --exclusive"]
    cluster = Cluster("gpu", "lab", "2-00:00:00", "64G", "a100:8", extra=extra, warn_s=300, setup=["module load cuda"])
    found = lines(cluster, config(nodes=2, workers=7))
    wanted = "partition=gpu account=lab time=2-00:00:00 mem=64G gpus-per-node=a100:8 qos=long constraint=a100 exclusive"
    assert set(wanted.split()) <= found
    assert {"nodes=2", "ntasks-per-node=8", "cpus-per-task=8", "signal=USR2@300"} <= found
    assert cluster.options(config(), "job", 64)["setup"][-1] == "module load cuda"


@pytest.mark.parametrize(
    ("devices", "accelerator", "gpus", "tasks"),
    [
        ("auto", "auto", None, 1),
        ("auto", "gpu", 4, 4),
        ("auto", "cpu", 4, 1),
        (-1, "gpu", 2, 2),
        (2, "cpu", None, 2),
        ("2", "auto", 4, 2),
        ([0, 3], "gpu", 4, 2),
        ("0,1,2", "gpu", 4, 3),
    ],
)
def test_a_process_a_device(devices: Any, accelerator: str, gpus: int | None, tasks: int) -> None:
    assert Cluster(gpus=gpus).tasks(config(devices, accelerator=accelerator)["trainer"]) == tasks


def test_cpus_are_at_most_those_of_the_node() -> None:
    def cpus(cluster: Cluster, node: int | None, **more: Any) -> int:
        return int(cluster.options(config(**more), "job", node)["cpus_per_task"])

    assert cpus(Cluster(), 2) == 2
    assert cpus(Cluster(gpus=8), 32) == 4
    assert cpus(Cluster(), None, workers=30) == 31
    assert cpus(Cluster(cpus=12), 4) == 12  # asked for: SLURM says no, if it can't


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"time": "02:30"}, "12:00:00"),
        ({"time": "2h"}, "12:00:00"),
        ({"memory": "32"}, "32G"),
        ({"gpus": "eight"}, "a100:8"),
        ({"gpus": 0}, "a100:8"),
        ({"cpus": 0}, "at least 1"),
        ({"extra": "qos=long"}, "in brackets"),
        ({"extra": ["signal=USR1@60"]}, "can't be added|can be added"),
        ({"extra": ["-p gpu"]}, "can be added"),
    ],
)
def test_what_slurm_would_read_otherwise_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Cluster(**settings)


def test_more_devices_than_gpus() -> None:
    with pytest.raises(UsageError, match=r"hydra\.launcher\.gpus=2"):
        Cluster(gpus=2).tasks(config(4)["trainer"])


def test_whether_a_job_is_for_slurm() -> None:
    assert chosen(compose([]).cfg) is None and not check_cluster(compose([]).cfg, False)
    cfg = compose(["hydra/launcher=slurm", "hydra.launcher.warn_s=7"]).cfg
    cluster = chosen(cfg)
    assert cluster is not None and cluster.warn_s == 7 and check_cluster(cfg, True)
    with pytest.raises(UsageError, match="counts in a sweep only"):
        check_cluster(cfg, False)
    cfg = compose(["hydra/launcher=slurm", "+hydra.launcher.gpu=7"]).cfg
    with pytest.raises(UsageError, match=r"hydra.launcher.gpu: no such key; did you mean 'gpus'"):
        chosen(cfg)
