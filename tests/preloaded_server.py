"""The process behind `preloaded`: it imports what the command imports, then forks at each request."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any, ClassVar

from tests.preloaded import DRAWS, NUMBER, Process, receive, send, undrawn

RANK = ["-P", "-m", "medtrain"], {"env", "stdout", "stderr", "start_new_session"}  # how medtrain starts one

LATE = ("captum.attr", "imagehash", "scipy.ndimage", "scipy.stats", "sklearn.linear_model", "surface_distance")


def _preload() -> None:
    import medtrain

    for module in pkgutil.walk_packages(medtrain.__path__, "medtrain."):
        if not module.name.endswith(("__main__", "network_onnx")):  # ONNX Runtime starts a thread
            importlib.import_module(module.name)
    for name in (*importlib.import_module("medtrain.launch.forks").LATE, *LATE):
        importlib.import_module(name)
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    threads = [name for name in names if name != "jemalloc_bg_thd"]  # pyarrow's allocator, which minds forks itself
    assert len(threads) == 1, f"{threads} after imports: a fork would lose all threads but one"
    gc.collect()
    gc.freeze()  # forks share these pages


def _serve(asks: socket.socket) -> dict[str, Any] | None:
    """Fork at each request; returns the request in the fork, and None when nobody asks any more."""
    running: dict[int, tuple[int, int]] = {}  # by the file that tells of the end: pid, and where the code goes
    while True:
        ready, _, _ = select.select([asks, *running], [], [])
        for ended in [r for r in ready if isinstance(r, int)]:
            pid, status = running.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(status, b"%*d" % (NUMBER, code))
            os.close(status)
            os.close(ended)
        if asks not in ready:
            continue
        received = receive(asks)
        if received is None:
            return None
        ask, (out, err, status) = received
        pid = os.fork()
        if pid == 0:
            asks.close()
            for file in (status, *running, *(s for _, s in running.values())):
                os.close(file)
            _redirect(out, err)
            return ask
        os.close(out)
        os.close(err)
        os.write(status, b"%*d" % (NUMBER, pid))
        running[os.pidfd_open(pid)] = pid, status


def _redirect(out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)


def _become(ask: dict[str, Any]) -> None:
    """Make this fork what `python -m medtrain` would be, and run."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ask = _stand_by(ask)
    os.environ.clear()
    os.environ.update(ask["environment"])
    os.chdir(ask["cwd"])
    sys.path[:1] = [] if ask.get("rank") else [ask["cwd"]]
    sys.argv = ["medtrain", *ask["words"]]
    if not ask["draw"]:
        for name in DRAWS:
            owner, _, method = name.rpartition(".")
            setattr(pkgutil.resolve_name(owner), method, undrawn)
    if ask["code"]:
        exec(ask["code"], {"__name__": "injected"})
    runpy.run_module("medtrain", run_name="__main__", alter_sys=True)


def _stand_by(ask: dict[str, Any]) -> dict[str, Any]:
    """Fork the ranks that the command may start; returns the request of what this process is then.

    They are children of the command, as they have to be, and know nothing of what it does before it starts them.
    """
    for _ in range(_ranks(ask)):
        mine, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            for file in (mine, *(s for _, s in _Popen.ready)):
                file.close()
            received = receive(its)
            if received is None:  # the command has ended without it
                os._exit(0)
            its.close()
            os.setsid()
            _redirect(*received[1])
            return ask | received[0]
        its.close()
        _Popen.ready.append((pid, mine))
    subprocess.Popen = _Popen  # type: ignore[misc]
    return ask


def _ranks(ask: dict[str, Any]) -> int:
    """Read how many ranks a command will start, one job after the other, from its words or the run that it names."""
    if "RANK" in ask["environment"] or "SLURM_STEP_NUM_TASKS" in ask["environment"]:
        return 0  # it is one itself
    given = dict(word.partition("=")[::2] for word in ask["words"])
    saved = Path(ask["cwd"], given.get("run", ""), "config.yaml")
    saved_devices = re.search(r"^  devices: (\d+)$", saved.read_text(), re.MULTILINE) if saved.is_file() else None
    devices = given.get("trainer.devices", saved_devices[1] if saved_devices else "1")
    jobs = prod(value.count(",") + 1 for value in given.values()) if "-m" in ask["words"] else 1
    return jobs * int(devices) if devices.isdigit() and int(devices) > 1 else 0


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Start a rank by waking a process that stands by, and anything else as always."""

    ready: ClassVar[list[tuple[int, socket.socket]]] = []

    def __new__(cls, command: Any, *more: Any, **options: Any) -> Any:
        if not cls.ready or (command[1:4], options.keys()) != RANK:
            return super().__new__(cls)
        pid, to = cls.ready.pop(0)
        files = [n if options[name] is None else options[name].fileno() for n, name in ((1, "stdout"), (2, "stderr"))]
        with to:
            send(to, {"words": command[4:], "environment": options["env"], "rank": True, "cwd": os.getcwd()}, files)
        return Process(pid, os.pidfd_open(pid))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for pytest, which then leaves
    _preload()
    with socket.socket(fileno=int(sys.argv[1])) as _asks:
        _ask = _serve(_asks)
    if _ask is not None:
        _become(_ask)
