"""Who started this process, as their variables tell."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf

from medtrain.core.errors import UsageError
from medtrain.launch import processes, together
from medtrain.launch.processes import Launch, fit, launched
from medtrain.verbs import VERBS

TORCHRUN = {
    "RANK": "5",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}
SRUN = {"SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x3)"}


def cfg(devices: object = "auto", nodes: int = 1) -> DictConfig:
    return OmegaConf.create({"trainer": {"devices": devices, "num_nodes": nodes}})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("MEDTRAIN_PARENT", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", *TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def by(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        patch.setenv(name, value)


def test_nobody(started: pytest.MonkeyPatch) -> None:
    assert launched() is None and processes.global_rank() == 0
    by(started, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"})  # a batch script, or a shell by srun --pty
    assert launched() is None
    by(started, {"RANK": "1", "WORLD_SIZE": "2"})  # a pod of a cluster that numbers them
    assert launched() is None and processes.global_rank() == 0


def test_torchrun_and_srun(started: pytest.MonkeyPatch) -> None:
    by(started, SRUN)
    assert launched() == Launch("srun", 4, 6, 2) and processes.global_rank() == 4
    by(started, TORCHRUN)  # within a job of SLURM
    assert launched() == Launch("torchrun", 5, 8, 4) and processes.launched().nodes == 2  # type: ignore[union-attr]
    by(started, {"MEDTRAIN_PARENT": "7"})
    assert launched() is None and processes.global_rank() == 5


def test_what_cannot_be(started: pytest.MonkeyPatch) -> None:
    by(started, SRUN | {"SLURM_STEP_TASKS_PER_NODE": "3,2,1"})
    with pytest.raises(UsageError, match="3,2,1 tasks"):
        launched()
    started.delenv("SLURM_STEP_NUM_TASKS")
    by(started, {"OMPI_COMM_WORLD_SIZE": "2"})
    with pytest.raises(UsageError, match="mpirun"):
        launched()


@pytest.mark.parametrize(("devices", "nodes"), [("auto", 1), (-1, 2), (4, 1), ("4", 2), ([0, 1, 2, 3], 1)])
def test_the_trainer_takes_what_was_started(devices: object, nodes: int, started: pytest.MonkeyPatch) -> None:
    by(started, TORCHRUN)
    given = cfg(devices, nodes)
    fit(given)
    assert given.trainer.num_nodes == 2 and given.trainer.devices == (devices if isinstance(devices, list) else 4)


def test_another_number_is_refused(started: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"torchrun --nnodes=2 .*\n.*srun --nodes=2"):
        fit(cfg(nodes=2))
    by(started, TORCHRUN)
    with pytest.raises(UsageError, match="trainer.devices=2, but torchrun started 4"):
        fit(cfg(2))
    with pytest.raises(UsageError, match="on 2 machines"):
        fit(cfg(nodes=3))


def test_sweeps_and_other_verbs_are_one_process(started: pytest.MonkeyPatch) -> None:
    together.alone(VERBS["inspect"], False)
    by(started, TORCHRUN)
    together.alone(VERBS["train"], False)
    for verb, multirun in (("train", True), ("inspect", False)):
        with pytest.raises(UsageError, match="start it without torchrun"):
            together.alone(VERBS[verb], multirun)
