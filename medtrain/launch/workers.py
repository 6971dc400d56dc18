"""The workers of a search on this machine: processes of the same command, each with its share of cores and GPUs.

A worker runs the search's own words (`medtrain.config.tuning`), so it imports once for all of its trials. No worker
outlives the command: the kernel ends those whose parent was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from medtrain.config.multirun import Leader
from medtrain.core.errors import MedtrainError
from medtrain.io.study import WORKER
from medtrain.launch import ranks, threads

FOLDER = "workers"  # in the search's: what they print
LEADER = "MEDTRAIN_LEADER"  # in a worker: the process without which it ends
POLL_S = 0.5


def die_with_leader() -> None:
    """Let the kernel end this process with the one that leads it, if it is a worker on this machine."""
    ranks.die_with_parent(LEADER)


def words_of(folder: Path) -> list[str]:
    """Write the command line of a worker: the search's own words, its trials carried out by itself."""
    return ["-m", "sweep.retry=failed", f"hydra.sweep.dir={folder.absolute()}", "hydra/launcher=basic"]


def run(names: Sequence[str], folder: Path, variables: Mapping[str, str], devices: int, leader: Leader) -> None:
    """Start the workers, and others for those that died in a trial; wait for all.

    Args:
        names: of the workers.
        folder: the search's.
        variables: of their environment.
        devices: GPUs that a trial takes.

    Raises:
        MedtrainError: a worker ended without a trial that it could have died of.
        KeyboardInterrupt: a signal, which the workers were sent too.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    shares = gpu_shares(len(names), devices, visible_gpus() if devices else [])
    if shares and len(set(shares)) < len(shares):
        print(f"hydra.sweeper.parallel={len(names)}: there are fewer GPUs, so trials share them")
    alive: dict[str, subprocess.Popen[bytes]] = {}
    received: list[int] = []

    def start(name: str) -> None:
        own = {"CUDA_VISIBLE_DEVICES": shares[names.index(name)]} if shares else {}
        environment = os.environ | variables | own | {WORKER: name, LEADER: str(os.getpid())}
        threads.settle(environment, len(names))
        command = [sys.executable, "-P", "-m", "medtrain", *words_of(folder)]
        with open(folder / FOLDER / f"{name}.log", "ab") as log:
            alive[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def forward(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {n: signal.signal(n, forward) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        for name in names:
            start(name)
        while alive:
            time.sleep(POLL_S)
            leader.look()
            for name, code in [(name, process.poll()) for name, process in alive.items()]:
                if code is None:
                    continue
                del alive[name]
                if code and leader.fallen(name, f"code {code}"):
                    start(name)
                elif code:
                    raise MedtrainError(
                        f"worker {name} ended (code {code}): {_last_line(folder / FOLDER / f'{name}.log')}"
                    )
    finally:
        ranks.end_all(list(alive.values()), ranks.GRACE_S)
        for n, handler in before.items():
            signal.signal(n, handler)


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    import torch  # the count alone opens no GPU

    return [str(number) for number in range(torch.cuda.device_count())]


def gpu_shares(workers: int, devices: int, visible: Sequence[str]) -> list[str]:
    """Deal GPUs out, as CUDA_VISIBLE_DEVICES of each worker; [] where there are none.

    Args:
        devices: that a trial takes; where there are fewer in all, each worker gets all of them.
    """
    if not visible:
        return []
    count = min(max(1, devices), len(visible))
    parts = len(visible) // count
    return [",".join(visible[count * (n % parts) : count * (n % parts + 1)]) for n in range(workers)]


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'it said nothing'} ({log})"
