"""Jobs of a sweep in forks of this process, which has imported what they need and computed nothing.

Imports take longer than a small training, so jobs share them; and each has a process of its own, so that its memory
goes with it, and a crash ends no other job. But threads don't live on in a fork: one that is made after OpenMP's have
begun waits for them for ever, and CUDA refuses to work. So a process forks only if it began as the command and has, but
for what libraries start while they are imported (and know how to mind forks: OpenBLAS, Arrow), no thread more since.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from medtrain.core.notice import notice
from medtrain.launch import imports, ranks

LATE = (  # what training imports only where it is needed, beside medtrain's own modules
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "torch.distributed",
    "torch.utils.tensorboard",
)
CUDA = "/dev/nvidia-uvm"  # open where CUDA has begun; asking NVML for devices doesn't open it
_threads: frozenset[str] | None = None  # of this process, when nothing was computed yet


def prepare(command: Callable[[], Any]) -> None:
    """Import what jobs need and note the threads, before anything is computed; only in a process that is the command.

    Args:
        command: imports the verb's module.
    """
    global _threads
    if not imports.begun() or not sys.platform.startswith("linux"):
        return
    command()
    for name in LATE:
        importlib.import_module(name)
    _threads = _running()


def possible() -> bool:
    """Tell whether a fork of this process can do what a new process could; a cluster's notice is for this one."""
    return _threads is not None and not notice.listening and _running() <= _threads and not _has_cuda()


def run(work: Callable[[], int]) -> int:
    """Do the work in a fork, and wait; returns its exit code, less than 0 where a signal has killed it.

    Signals for this process go to the fork, which closes its run, as if it were the command itself. They wait until it
    is there and minds them.
    """
    imports.end()
    process: Any = None

    def forward(number: int, _frame: FrameType | None) -> None:
        if process.exitcode is None:
            os.kill(process.pid, number)

    forwarded = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else nohup: go on without the terminal
        forwarded.append(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
    before: dict[int, Any] = {number: signal.signal(number, forward) for number in forwarded}
    try:
        process = multiprocessing.get_context("fork").Process(target=_job, args=(work, before, os.getpid()))
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
        process.join()
        return int(process.exitcode or 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)


def _job(work: Callable[[], int], handlers: dict[int, Any], parent: int) -> None:
    os.setsid()  # Ctrl-C reaches the parent alone, which passes it on once
    ranks.end_with(parent)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # what came before is raised here
        code = work()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code)


def _running() -> frozenset[str]:
    return frozenset(os.listdir("/proc/self/task"))


def _has_cuda() -> bool:
    files = Path("/proc/self/fd")
    return any(os.path.realpath(files / name) == CUDA for name in os.listdir(files))
