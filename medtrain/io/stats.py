"""Size and time of many files at once: what tells that a file is still the one that was read before."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

MISSING, NO_FILE = -1, -2
CHUNK = 8192
THREADS = 8  # a look at a file waits for the server where files are far away


def absolute(paths: Sequence[str | os.PathLike[str]], root: str | os.PathLike[str] = ".") -> list[str]:
    """Make each path absolute as `os.path.abspath` does, relative ones counted from `root`, only faster."""
    base, normal = os.path.join(os.path.abspath(root), ""), os.path.normpath
    # what begins with a letter or a digit, and names no drive, needs no `join`, which takes longer than the rest
    return [
        normal(base + path if path[:1].isalnum() and path[1:2] != ":" else os.path.join(base, path))
        for path in (os.fspath(path) for path in paths)
    ]


def stat_files(paths: Sequence[str | os.PathLike[str]]) -> NDArray[np.int64]:
    """Read (N, 2): bytes (MISSING where nothing is there, NO_FILE of folders and such) and modification time in ns."""
    states = np.empty((len(paths), 2), np.int64)

    def look(start: int, stop: int) -> None:
        for number, path in enumerate(paths[start:stop], start):
            states[number] = stat_file(path)

    began, busy = time.perf_counter(), time.thread_time()
    look(0, CHUNK // 16)
    waits = time.perf_counter() - began > 4 * (time.thread_time() - busy)
    with ThreadPoolExecutor(THREADS if waits else 1) as pool:  # threads that don't wait only get in each other's way
        starts = range(CHUNK // 16, len(paths), CHUNK)
        list(pool.map(look, starts, (start + CHUNK for start in starts)))
    return states


def stat_file(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read size and time of one file, as `stat_files` gives them."""
    try:
        status = os.stat(path)
    except OSError:
        return MISSING, 0
    return (status.st_size if stat.S_ISREG(status.st_mode) else NO_FILE), status.st_mtime_ns
