"""What tells a process from every other one, also after a restart of its machine or container.

A number alone does not: another program gets it, and in a restarted container the new process has the old one's number.
On Linux the number, the moment of its start and the boot of the machine together belong to one process for ever. A
number means something within its namespace (a container) only; of processes elsewhere, what they write has to tell.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROC = Path("/proc")
_GONE = ("Z", "X")  # states of a process that has ended and waits for its parent to notice


def identity(pid: int | None = None) -> dict[str, Any]:
    """Name a process of this namespace: its machine, number, and what the kernel tells: boot, namespace, start.

    Args:
        pid: its number; None for this process.
    """
    pid = os.getpid() if pid is None else pid
    facts = {"host": socket.gethostname(), "pid": pid}
    own = facts | {"boot": _boot(), "namespace": _namespace(), "started": start_ticks(pid)}
    return facts | {"process": own if all(value is not None for value in own.values()) else None}


def is_here(fields: Mapping[str, Any]) -> bool:
    """Tell whether a process lives where this one could see it, by what `identity` has said of it: machine and boot."""
    return _described(fields).get("boot", "") == _boot()


def _described(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take what `identity` has said, if it is of the machine and number that the fields name; else nothing is known."""
    process: Mapping[str, Any] = fields.get("process") or {}
    same = all(process.get(name, fields.get(name)) == fields.get(name) for name in ("host", "pid"))
    return process if same else {}


def lives(fields: Mapping[str, Any]) -> bool | None:
    """Tell whether a process still runs, by what `identity` has said of it; None where that can't be seen from here."""
    process = _described(fields)
    if process:
        if process.get("boot") != _boot() or process.get("namespace") != _namespace():
            return None
        return start_ticks(int(fields["pid"])) == process.get("started")
    if fields.get("host") != socket.gethostname() or not fields.get("pid"):
        return None
    return None if _exists(int(fields["pid"])) else False  # a record of 0.2: the number may be another program's by now


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _boot() -> str | None:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _namespace() -> int | None:
    try:
        return os.stat(PROC / "self/ns/pid").st_ino
    except OSError:
        return None


def start_ticks(pid: int) -> int | None:
    """Read when a process was started, in ticks of the clock since the boot; None if it has ended."""
    try:
        line = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    state, *rest = line.rpartition(")")[2].split()  # the name, in brackets before it, may hold anything
    return None if state in _GONE else int(rest[18])
