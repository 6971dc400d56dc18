"""The record of a run, run.json: what it is, was and came to, kept true while it runs.

A heartbeat thread rewrites the file every few seconds, so that a reader can tell a running job from one that
lost its machine; every write is atomic, so that it is never half a file.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from medtrain.io.files import read_json, write_json

LOST_AFTER_S = 60.0
FILE = "run.json"
_PACKAGES = ("medtrain", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "timm")


class RunRecord:
    """The run.json of one folder, owned by one process (rank 0).

    Args:
        folder: the run folder.
        facts: first fields, such as verb and seed; fields of an existing file (a resumed run) are kept beneath.
    """

    beat_s = 10.0

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.folder = folder
        self.fields: dict[str, Any] = read(folder) | facts
        self._started = time.monotonic()
        self._before = float(self.fields.get("wall_time_s") or 0.0)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> RunRecord:
        self.fields.pop("error", None)
        self.update(
            status="running",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=self.fields.get("started") or now(),
            versions=versions(),
            git=git_state(),
        )
        self._thread.start()
        return self

    def update(self, **fields: Any) -> None:
        """Set fields and write the file."""
        with self._lock:
            self.fields |= fields
            self.fields["wall_time_s"] = round(self._before + time.monotonic() - self._started, 1)
            self.fields["heartbeat"] = now()
            write_json(self.folder / FILE, self.fields)

    def finish(self, status: str, error: str | None = None) -> None:
        """Write for the last time: finished, failed, interrupted or preempted."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.update(status=status, ended=now(), **({"error": error} if error else {}))

    def _beat(self) -> None:
        while not self._stop.wait(self.beat_s):
            try:
                self.update()
            except OSError:  # a full disk must not end the run from here; the next beat tries again
                continue


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the run.json of a folder, {} if there is none."""
    file = Path(folder) / FILE
    return dict(read_json(file)) if file.is_file() else {}


def is_alive(fields: dict[str, Any]) -> bool:
    """Tell whether the process still runs: by its pid on its own host, else by a heartbeat under a minute old."""
    if fields.get("status") != "running":
        return False
    if fields.get("host") == socket.gethostname() and fields.get("pid"):
        return _is_medtrain(int(fields["pid"]))
    return age_s(fields) < LOST_AFTER_S


def status(fields: dict[str, Any]) -> str:
    """Name the status as a reader shows it: 'lost' for a run that says running and doesn't."""
    state = str(fields.get("status", "unknown"))
    return "lost" if state == "running" and not is_alive(fields) else state


def age_s(fields: dict[str, Any]) -> float:
    """Count the seconds since the last heartbeat."""
    beat = fields.get("heartbeat")
    return (datetime.now(UTC) - datetime.fromisoformat(beat)).total_seconds() if beat else float("inf")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    versions_of = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions_of[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions_of


def git_state() -> dict[str, Any] | None:
    """Ask git for commit and cleanliness of the working folder's repository, None outside one."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _is_medtrain(pid: int) -> bool:
    """Tell whether there is such a process, and it is one of ours (a pid is used again after a restart)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
    return b"python" in command or b"medtrain" in command
