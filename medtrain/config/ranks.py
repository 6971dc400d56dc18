"""Several processes on one machine: the parent starts every rank and is none itself.

With rank 0 inside the parent, a rank that dies leaves the others waiting in a collective operation for minutes.
Here the parent only watches: it forwards signals, ends all ranks when one fails, and no rank outlives it.
Lightning finds LOCAL_RANK and the like set, so it starts nothing of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig

OPTION = "--job"  # the internal option of the command: a saved, resolved configuration to execute
GRACE_S = 15.0
_LAUNCHED = ("LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


def is_rank() -> bool:
    """Did someone else (torchrun, srun, this module) start this process as one of several?"""
    return any(name in os.environ for name in _LAUNCHED)


def global_rank() -> int:
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or 0)


def tasks_per_node() -> int:
    """Processes that srun started on this node, 0 without srun: `trainer.devices=auto` then means one device each."""
    return int(os.environ.get("SLURM_NTASKS_PER_NODE") or 1) if "SLURM_PROCID" in os.environ else 0


def environment() -> list[Any]:
    """For the trainer's plugins: under srun SLURM's, without its requeueing, which is the job's own affair."""
    if "SLURM_PROCID" not in os.environ:
        return []
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def wanted(cfg: DictConfig) -> int:
    """Processes that the trainer settings ask for on this machine; 1 if someone else starts them."""
    if is_rank():
        return 1
    devices, accelerator = cfg.trainer.devices, cfg.trainer.accelerator
    if isinstance(devices, int) and devices >= 0:
        return devices
    if isinstance(devices, str) and devices.isdigit():
        return int(devices)
    if not isinstance(devices, str | int):
        return len(devices)
    if accelerator == "cpu":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def run_ranks(count: int, job: Path, folder: Path) -> int:
    """Start `count` ranks on a saved job, wait, and return the worst exit code (143 after a SIGTERM)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        "MEDTRAIN_PARENT": str(os.getpid()),
    }
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    command = [sys.executable, "-P", "-m", "medtrain", OPTION, str(job)]  # -P: no module of the working folder
    processes: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # an interrupt stops a rank at once; Lightning answers SIGTERM with a collective that the others don't join
        _signal_all(processes, signal.SIGINT if number == signal.SIGTERM else number)

    forwarded = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    before: dict[int, Any] = {number: signal.signal(number, forward) for number in forwarded}
    try:
        for rank in range(count):
            log = None if rank == 0 else open(folder / f"train.rank{rank}.log", "ab")  # noqa: SIM115
            ids = {"LOCAL_RANK": str(rank), "RANK": str(rank)}
            # a session of its own: Ctrl-C reaches the parent alone, which passes it on once
            processes.append(
                subprocess.Popen(command, env=environment | ids, stdout=log, stderr=log, start_new_session=True)
            )
            if log is not None:
                log.close()
        code = _watch(processes)
    finally:
        _end_all(processes)
        for number, handler in before.items():
            signal.signal(number, handler)
    stopped = [n for n in received if n in (signal.SIGTERM, signal.SIGINT)]
    return 128 + stopped[0] if stopped else code


def _watch(processes: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all; the first failure ends the wait."""
    while True:
        codes = [p.poll() for p in processes]
        failed = [c for c in codes if c]
        if failed:
            time.sleep(1.0)  # the others may be about to tell their own reason
            return failed[0]
        if all(c == 0 for c in codes):
            return 0
        time.sleep(0.05)


def _signal_all(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    _signal_all(processes, signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_parent() -> None:
    """In a rank: ask the kernel to end this process when its parent dies (Linux)."""
    parent = os.environ.get("MEDTRAIN_PARENT")
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
    if os.getppid() != int(parent):
        os._exit(1)
