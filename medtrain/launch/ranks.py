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
from typing import Any, NamedTuple

from omegaconf import DictConfig

from medtrain.launch import threads
from medtrain.launch.processes import PARENT, launched

OPTION = "--job"  # the internal option of the command: a saved, resolved configuration to execute
GRACE_S = 15.0  # to close up after a signal
FAILED_GRACE_S = 5.0  # where one has failed, the others wait for it in a collective operation, and nothing wakes them


class Ended(NamedTuple):
    """The end of all ranks.

    Args:
        code: the exit code of the first that failed, 128 + the signal after a signal, 0.
        explained: rank 0 has said why to the person.
    """

    code: int
    explained: bool


def wanted(cfg: DictConfig) -> int:
    """Count the processes that the trainer settings ask for on this machine; 1 if someone else starts them."""
    if launched() is not None or PARENT in os.environ:
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


def environment() -> list[Any]:
    """Make the trainer's plugins: a rank of ours shall not see that SLURM gave the machine; requeueing is the job's."""
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    if PARENT in os.environ:
        return [LightningEnvironment()]
    under_srun = "SLURM_PROCID" in os.environ and "RANK" not in os.environ and SLURMEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if under_srun else []


def run_ranks(count: int, job: Path, folder: Path) -> Ended:
    """Start `count` ranks on a saved job, and wait."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        PARENT: str(os.getpid()),
    }
    threads.settle(environment, count)
    command = [sys.executable, "-P", "-m", "medtrain", OPTION, str(job)]  # -P: no module of the working folder
    processes: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        # an interrupt stops a rank at once; Lightning answers SIGTERM with a collective that the others don't join
        _signal_all(processes, number if number == signal.SIGUSR1 else signal.SIGINT)

    forwarded = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else nohup: go on without the terminal
        forwarded.append(signal.SIGHUP)
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
        ended = _watch(processes)
    finally:
        end_all(processes, GRACE_S if received else FAILED_GRACE_S)
        for number, handler in before.items():
            signal.signal(number, handler)
    stopped = [n for n in received if n != signal.SIGUSR1]
    return Ended(128 + stopped[0], True) if stopped else ended


def _watch(processes: list[subprocess.Popen[bytes]]) -> Ended:
    """Wait for all; the first failure ends the wait."""
    while not any(codes := [p.poll() for p in processes]):
        if None not in codes:
            return Ended(0, True)
        time.sleep(0.05)
    until = time.monotonic() + 1.0  # rank 0 may be about to tell the same reason
    while processes[0].poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    first = processes[0].poll()
    killed = any(code and code < 0 for code in codes)  # then rank 0 tells only that the connection to it is closed
    if first and not killed:
        return Ended(first, first > 0)
    return Ended(next(code for code in codes if code), False)


def _signal_all(processes: list[subprocess.Popen[bytes]], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def end_all(processes: list[subprocess.Popen[bytes]], grace: float) -> None:
    """Interrupt processes, and kill those that have not ended after `grace` seconds."""
    _signal_all(processes, signal.SIGINT)
    deadline = time.monotonic() + grace
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def die_with_parent(variable: str = PARENT) -> None:
    """Ask the kernel to end this process when its parent dies, whose number a variable holds (Linux)."""
    parent = os.environ.get(variable)
    if parent is None or not sys.platform.startswith("linux"):
        return
    end_with(int(parent))


def end_with(parent: int) -> None:
    """End this process with its parent, by the kernel's hand, and at once where that has ended already (Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
