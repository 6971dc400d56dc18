"""Start the command in a fork of one process that has imported all that it imports, as if it were a new process.

Importing torch, Lightning and the rest costs as much as two tiny trainings, so tests pay for it once. The server only
imports: it has one thread, and OpenMP has not begun, so its forks are as good as new processes. They have their own
pid, working folder, environment, output and signals, and end as Python ends. What reads the environment while it is
imported, or tests the start itself, starts the real command.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
READ_AT_IMPORT = ("PYTHON", "OMP_", "LD_", "LC_", "LANG")  # beginnings of variables that a fork is too late for
# what medtrain imports only where it is needed, beside its own modules
LATE = (
    "joblib",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "sklearn.metrics",
    "torch.distributed",
    "torch.utils.tensorboard",
)
NUMBER = 12  # bytes of a pid or an exit code
# a picture of one pixel, where nobody looks at plots
DOT = {
    "png": bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a"
        "4944415478da63f80f00010101001cb08c990000000049454e44ae426082"
    ),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
}


class Started:
    """A process started by the server; like `subprocess.Popen`, with its output in files."""

    def __init__(self, status: int, out: IO[str], err: IO[str]) -> None:
        self.pid = _number(status)
        self.returncode: int | None = None
        self._status, self._out, self._err = status, out, err

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; negative codes are signals."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = _number(self._status)
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; the output and the errors."""
        self.wait(timeout)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
            file.close()
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


def start(*words: str, draw: bool = False, code: str = "", cwd: Path | None = None, **variables: str) -> Started:
    """Start the command.

    Args:
        words: its command line.
        draw: the plots of its reports are drawn, not stood in for by a pixel.
        code: Python run in the process before the command, to inject a fault.
        cwd: the working folder, by default this process's.
        variables: environment variables beside those of this process.
    """
    environment = os.environ | ONE_THREAD | {"COLUMNS": "200"} | variables
    late = {n for n in environment.keys() | os.environ.keys() if n.startswith(READ_AT_IMPORT)}
    server = _server()
    assert not [n for n in late if environment.get(n) != server.environment.get(n)], "start the real command for that"
    ask: dict[str, Any] = {"words": words, "draw": draw, "code": code, "cwd": str(cwd or Path.cwd())}
    out, err = (tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2))  # noqa: SIM115
    reading, writing = os.pipe()
    try:
        server.ask(ask | {"environment": environment}, [out.fileno(), err.fileno(), writing])
    finally:
        os.close(writing)
    return Started(reading, out, err)


def _number(status: int) -> int:
    text = os.read(status, NUMBER)
    if not text:
        raise RuntimeError("the server of commands has ended before its command")
    return int(text)


class _Server:
    """This side of the server; it ends with this process, or with `close`."""

    def __init__(self) -> None:
        self.environment = os.environ | ONE_THREAD | {"TORCH_CPP_LOG_LEVEL": "ERROR"}
        mine, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.preloaded", str(its.fileno())],
                cwd=ROOT,
                env=self.environment,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._socket = mine

    def ask(self, ask: dict[str, Any], files: list[int]) -> None:
        text = json.dumps(ask).encode()
        socket.send_fds(self._socket, [len(text).to_bytes(4, "big")], files)
        self._socket.sendall(text)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(30)


@functools.cache
def _server() -> _Server:
    return _Server()


def close() -> None:
    """End the server, if one was started; one starts again when it is needed."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


def undrawn(_figure: Any, to: Any, *, format: str = "png", **_options: Any) -> None:
    """Stand in for matplotlib's `Figure.savefig`, which takes a quarter of a tiny training."""
    if hasattr(to, "write"):
        to.write(DOT[format])
    else:
        Path(to).write_bytes(DOT[format])


# from here on: the server's side


def _preload() -> None:
    import medtrain

    for module in pkgutil.walk_packages(medtrain.__path__, "medtrain."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads after imports: a fork would lose all but one"
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
        size, files, _, _ = socket.recv_fds(asks, 4, 3)
        if not size:
            return None
        ask: dict[str, Any] = json.loads(asks.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        out, err, status = files
        pid = os.fork()
        if pid == 0:
            for file in (status, *running, *(s for _, s in running.values())):
                os.close(file)
            asks.close()
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.close(out)
            os.close(err)
            return ask
        os.close(out)
        os.close(err)
        os.write(status, b"%*d" % (NUMBER, pid))
        running[os.pidfd_open(pid)] = pid, status


def _become(ask: dict[str, Any]) -> None:
    """Make this fork what `python -m medtrain` would be, and run."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(ask["environment"])
    os.chdir(ask["cwd"])
    sys.path[0] = ask["cwd"]
    sys.argv = ["medtrain", *ask["words"]]
    if not ask["draw"]:
        from matplotlib.figure import Figure

        Figure.savefig = undrawn
    if ask["code"]:
        exec(ask["code"], {"__name__": "injected"})
    runpy.run_module("medtrain", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for pytest, which then leaves
    _preload()
    with socket.socket(fileno=int(sys.argv[1])) as _asks:
        _ask = _serve(_asks)
    if _ask is not None:
        _become(_ask)
