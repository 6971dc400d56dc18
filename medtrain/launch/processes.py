"""The place of this process among a job's, as torchrun, srun or our own parent have told it by variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

from medtrain.core.errors import UsageError

PARENT = "MEDTRAIN_PARENT"  # set in ranks that our own parent has started; those have their job already


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of a job.

    Args:
        by: who started it: torchrun or srun.
        rank, world: number among all, and how many these are.
        local: processes a machine.
    """

    by: str
    rank: int
    world: int
    local: int

    @property
    def nodes(self) -> int:
        return self.world // self.local


def launched() -> Launch | None:
    """Read what started this process as one of several; None for a process of its own, or a rank of our own parent.

    Raises:
        UsageError: a launcher that gives no address to meet at, or machines with unequal numbers of processes.
    """
    env = os.environ
    if PARENT in env:
        return None
    if all(name in env for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")):
        world = int(env["WORLD_SIZE"])
        return Launch("torchrun", int(env["RANK"]), world, int(env.get("LOCAL_WORLD_SIZE") or world))
    if int(env.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        world, tasks = int(env["SLURM_STEP_NUM_TASKS"]), env.get("SLURM_STEP_TASKS_PER_NODE", "")
        local = set(re.sub(r"\(x\d+\)", "", tasks).split(",")) if tasks else {str(world)}  # such as 2(x3),1
        if len(local) > 1:
            raise UsageError(f"srun started {tasks} tasks on the nodes: give each as many, by --ntasks-per-node")
        return Launch("srun", int(env["SLURM_PROCID"]), world, int(local.pop()))
    if int(env.get("OMPI_COMM_WORLD_SIZE") or env.get("PMI_SIZE") or 1) > 1:
        raise UsageError("started by mpirun, whose processes have no address to meet at: take torchrun or srun")
    return None


def global_rank() -> int:
    """Read this process's number among all: 0 writes the run's files."""
    if PARENT in os.environ:
        return int(os.environ["RANK"])
    launch = launched()
    return launch.rank if launch else 0


def world() -> int:
    """Count the processes that a launcher has started, 1 without one."""
    launch = launched()
    return launch.world if launch else 1


def fit(cfg: DictConfig) -> None:
    """Let the trainer take what the launcher has started, in place.

    Raises:
        UsageError: the configuration asks for another number of processes or machines.
    """
    launch, trainer = launched(), cfg.trainer
    if launch is None:
        if trainer.num_nodes > 1 and PARENT not in os.environ:
            start = f"--nnodes={trainer.num_nodes} --node-rank=N --nproc-per-node=DEVICES --master-addr=FIRST"
            raise UsageError(
                f"trainer.num_nodes={trainer.num_nodes}: several machines are started from outside:\n"
                f"  on each, N = 0, 1, ...: torchrun {start} -m medtrain ...\n"
                f"  or once, under SLURM: srun --nodes={trainer.num_nodes} --ntasks-per-node=DEVICES medtrain ...\n"
                "  trainer.num_nodes=1 takes this machine alone"
            )
        return
    devices = trainer.devices if isinstance(trainer.devices, int | str) else len(trainer.devices)
    if str(devices) not in ("auto", "-1", str(launch.local)):
        raise UsageError(
            f"trainer.devices={trainer.devices}, but {launch.by} started {launch.local} processes on this machine: "
            f"give trainer.devices={launch.local}, or leave it to trainer.devices=auto"
        )
    if trainer.num_nodes not in (1, launch.nodes):
        raise UsageError(
            f"trainer.num_nodes={trainer.num_nodes}, but {launch.by} started processes on {launch.nodes} machines"
        )
    trainer.num_nodes = launch.nodes
    if isinstance(trainer.devices, int | str):  # a list says which ones
        trainer.devices = launch.local
