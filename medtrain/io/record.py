"""The record of a run, run.json: what it is, was and came to, kept true while it runs.

A heartbeat thread rewrites the file every few seconds, so that a reader can tell a running job from one that
lost its machine; every write is atomic, so that it is never half a file. Whoever reads it reads it here: a damaged one
costs its own run, and is named.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import threading
import time
from datetime import UTC, datetime
from importlib import metadata
from math import isfinite
from pathlib import Path
from typing import Any

from medtrain.core import process
from medtrain.core.errors import MedtrainError
from medtrain.io.files import read_json, sweep_partial, write_json

LOST_AFTER_S = 60.0
FILE = "run.json"
DAMAGED = "damaged"
_RESERVE, _RESERVED = ".run.json.reserve", 64 * 1024  # given up for the last words on a full disk
_PACKAGES = ("medtrain", "torch", "torchvision", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "timm")
_TEXTS = ("status", "verb", "task", "model", "data", "host", "heartbeat", "started", "ended", "error", "fingerprint")
_NUMBERS = ("pid", "seed", "wall_time_s", "best_score", "best_epoch", "tests_counted", "images_per_s")
_NODES = ("process", "spec", "fingerprints", "excluded", "imbalance", "before", "devices", "versions", "peak_memory_mb")
_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(_TEXTS, (str, "a text")),
    **dict.fromkeys(_NUMBERS, ((int, float), "a number")),  # type: ignore[arg-type]
    **dict.fromkeys(_NODES, (dict, "a node")),
    "overrides": (list, "a list"),
}


class RunRecord:
    """The run.json of one folder, owned by one process (rank 0).

    Args:
        folder: the run folder.
        facts: first fields, such as verb and seed; fields of an existing file (a resumed run) are kept beneath.

    Raises:
        MedtrainError: the existing file is damaged.
    """

    beat_s = 10.0

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.folder = folder
        self.fields: dict[str, Any] = read(folder) | facts
        self.swept = 0  # bytes of what a killed process had left
        self._started = time.monotonic()
        self._before = float(self.fields.get("wall_time_s") or 0.0)
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> RunRecord:
        """Write that the run is running, and clear away what a killed process has left half written."""
        self.swept += sweep_partial(self.folder)
        with contextlib.suppress(OSError):  # there is no space to reserve
            (self.folder / _RESERVE).write_bytes(os.urandom(_RESERVED))  # zeros may take none
        self.fields.pop("error", None)
        self.update(
            status="running",
            **process.identity(),
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
        """Write for the last time: finished, pruned, failed, interrupted or preempted; also where the disk is full."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        sweep_partial(self.folder)
        (self.folder / _RESERVE).unlink(missing_ok=True)
        last: dict[str, Any] = {"status": status, "ended": now()} | ({"error": error} if error else {})
        if status == "finished":
            self.update(**last)
            return
        with contextlib.suppress(OSError):  # what ended the run is told rather than that this can't be written
            self.update(**last)

    def _beat(self) -> None:
        while not self._stop.wait(self.beat_s):
            try:
                self.update()
            except OSError:  # a full disk must not end the run from here; the next beat tries again
                continue


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the run.json of a folder, {} if there is none.

    Raises:
        MedtrainError: it is damaged.
    """
    file = Path(folder) / FILE
    return read_file(file) if file.is_file() else {}


def look(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the run.json of one of several folders: of a damaged one the status ``damaged``, and ``error`` says why."""
    try:
        return read(folder)
    except MedtrainError as error:
        return {"status": DAMAGED, "error": str(error)}


def read_file(file: Path) -> dict[str, Any]:
    """Read a run.json that is there.

    Raises:
        MedtrainError: it can't be read, is no record, or a field is not what it has to be; names the file.
    """
    try:
        fields = read_json(file)
    except OSError as error:
        raise MedtrainError(f"{file}: can't be read: {error.strerror}") from error
    except ValueError as error:
        why = str(error).removeprefix(f"{file} ")[:100]
        raise _damaged(file, f"it {why}" if file.stat().st_size else "it is empty") from error
    if not isinstance(fields, dict):
        raise _damaged(file, f"it holds a {type(fields).__name__}, not fields")
    for name, (kind, words) in _TYPES.items():
        value = fields.get(name)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, float) and not isfinite(value))):
            raise _damaged(file, f"'{name}' is {str(value)[:40]!r}, not {words}")
    beat = fields.get("heartbeat")
    if beat and fields.get("status") == "running" and not _is_moment(beat):
        raise _damaged(file, f"'heartbeat' is {beat[:40]!r}, not a moment with its time zone")
    if not all(isinstance(word, str) for word in fields.get("overrides") or ()):
        raise _damaged(file, "'overrides' holds more than texts")
    return fields


def is_alive(fields: dict[str, Any]) -> bool:
    """Tell whether the process still runs: by itself where it can be seen, else by a heartbeat under a minute old."""
    if fields.get("status") != "running":
        return False
    lives = process.lives(fields)
    return age_s(fields) < LOST_AFTER_S if lives is None else lives


def status(fields: dict[str, Any]) -> str:
    """Name the status as a reader shows it: 'lost' for a run that says running and doesn't."""
    state = str(fields.get("status") or "unknown")
    return "lost" if state == "running" and not is_alive(fields) else state


def watch(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Wait for a run whose process can't be seen: until it gives a sign of life, or a minute has passed without one."""
    first = fields = read(folder)
    while is_alive(fields) and fields.get("heartbeat") == first.get("heartbeat"):
        time.sleep(1.0)
        fields = read(folder)
    return fields


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


def _damaged(file: Path, why: str) -> MedtrainError:
    return MedtrainError(f"{file}: damaged: {why}; put it back from a copy, or move the run's folder away")


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
