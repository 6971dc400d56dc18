"""Writes that either happen whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtrain.core.errors import MedtrainError

_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as `atomic_path` calls what is being written
_OLD_S = 3600.0  # where a file system has no locks, nobody writes that long without a byte
MOST_BYTES = 1 << 31  # of a text that is read whole


class Unreadable(MedtrainError, ValueError):
    """A file of a run that cannot be read as what it should be; the message names it and says why."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Open a temporary path beside `path`, which replaces it when the block ends well, else vanishes.

    It is locked meanwhile, and a lock ends with its process: so what a killed one leaves is known as such.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    _lock(handle)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def sweep_partial(folder: Path) -> int:
    """Remove, in a folder and those within, what killed processes were writing by `atomic_path`; returns the bytes."""
    removed = 0
    for path in folder.rglob(".*.tmp"):
        if not _PARTIAL.fullmatch(path.name) or path.is_symlink():
            continue
        try:
            with open(path, "rb") as file:
                state = os.fstat(file.fileno())
                free = _lock(file.fileno())
                if free or (free is None and time.time() - state.st_mtime > _OLD_S):
                    path.unlink()
                    removed += state.st_size
        except OSError:  # just gone, or not ours
            continue
    return removed


def _lock(handle: int) -> bool | None:
    """Lock an open file for this process; False if another one has it, None where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def beside(path: Path, what: str, usual: str) -> Path:
    """Name a table that stands beside a file: FILE.WHAT.csv for FILE with its usual suffix, such as ``.json``."""
    stem = path.stem if path.suffix.lower() == usual else path.name
    return path.with_name(f"{stem}.{what}.csv")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically; NaN is refused, since JSON has none: give None."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def why_not_regular(path: str | os.PathLike[str]) -> str:
    """Say why a path is no regular file, before it is opened (a pipe would be waited for); '' if it is one.

    Raises:
        OSError: it is not there, or cannot be looked at.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return ""
    return "a folder, not a file" if stat.S_ISDIR(mode) else "not a file but a pipe or a device"


def read_start(path: str | os.PathLike[str], count: int) -> bytes:
    """Read the first bytes of a regular file; ValueError says shortly why there are none."""
    try:
        if reason := why_not_regular(path):
            raise ValueError(reason)
        with open(path, "rb") as file:
            head = file.read(count)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be opened: {error.strerror}") from None
    if not head:
        raise ValueError("empty file (0 bytes)")
    return head


def why_no_file(path: str | os.PathLike[str]) -> str:
    """Say why there is no file to read: missing, a folder, links in a circle."""
    try:
        read_start(path, 1)
    except ValueError as error:
        return str(error)
    return "was not there at first"


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text (UTF-8) that somebody else may have put there.

    Raises:
        Unreadable: no regular file, too large, or not UTF-8.
        OSError: it is not there, or cannot be opened.
    """
    if reason := why_not_regular(path):
        raise Unreadable(f"{path}: {reason}")
    if (size := os.path.getsize(path)) > MOST_BYTES:
        raise Unreadable(f"{path}: {size / 1e6:,.0f} MB, more than such a file can have; it is damaged")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not UTF-8 text (byte {error.start})") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON.

    Raises:
        Unreadable: it is none, or nested beyond all measure.
        OSError: it is not there, or cannot be opened.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise Unreadable(f"{path} is no JSON: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"{path} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{path} is no JSON: {str(error)[:200]}") from None  # a number of thousands of digits


def read_json_map(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read JSON that has to be a map; errors as of `read_json`."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise Unreadable(f"{path}: a {type(content).__name__}, where a map is wanted")
    return content


def sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file's content, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
