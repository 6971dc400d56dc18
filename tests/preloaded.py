"""Start the command in a fork of one process that has imported all that it imports, as if it were a new process.

Importing torch, Lightning and the rest costs as much as two tiny trainings, so tests pay for it once. The server only
imports: it has one thread, and OpenMP has not begun, so its forks are as good as new processes. They have their own
pid, working folder, environment, output and signals, and end as Python ends. What reads the environment while it is
imported, or tests the start itself, starts the real command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
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
NUMBER = 12  # bytes of a pid or an exit code
# a picture of one pixel, where nobody looks at plots
DOT = {
    "png": bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a"
        "4944415478da63f80f00010101001cb08c990000000049454e44ae426082"
    ),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
}


class Process:
    """What `subprocess.Popen` offers of a process that something else has started.

    Args:
        pid: its number.
        end: a file that can be read when the process has ended.
    """

    def __init__(self, pid: int, end: int) -> None:
        self.pid, self._end = pid, end
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; negative codes are signals."""
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = self._code()
            os.close(self._end)
        return self.returncode

    def _code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)


class Started(Process):
    """A command that the server has started, with its output in files."""

    def __init__(self, status: int, out: IO[str], err: IO[str]) -> None:
        super().__init__(_number(status), status)
        self._files = out, err

    def _code(self) -> int:
        return _number(self._end)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; the output and the errors."""
        self.wait(timeout)
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return texts[0], texts[1]


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
        send(server.socket, ask | {"environment": environment}, [out.fileno(), err.fileno(), writing])
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
                [sys.executable, "-m", "tests.preloaded_server", str(its.fileno())],
                cwd=ROOT,
                env=self.environment,
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.socket = mine

    def close(self) -> None:
        self.socket.close()
        self._process.wait(30)


@functools.cache
def _server() -> _Server:
    return _Server()


def close() -> None:
    """End the server, if one was started; one starts again when it is needed."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


def send(to: socket.socket, ask: dict[str, Any], files: list[int]) -> None:
    """Send a request with open files to the other end."""
    text = json.dumps(ask).encode()
    socket.send_fds(to, [len(text).to_bytes(4, "big")], files)
    to.sendall(text)


def receive(at: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive what `send` sends; None where nobody will ask any more."""
    size, files, _, _ = socket.recv_fds(at, 4, 3)
    if not size:
        return None
    return json.loads(at.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)), files


DRAWS = ("matplotlib.figure.Figure.savefig", "matplotlib.backends.backend_agg.FigureCanvasAgg.print_png")


def undrawn(_figure: Any, to: Any, *, format: str = "png", **_options: Any) -> None:
    """Stand in for matplotlib's drawing, which takes a quarter of a tiny training."""
    if hasattr(to, "write"):
        to.write(DOT[format])
    else:
        Path(to).write_bytes(DOT[format])
