"""Tiles of slides, read by several processes into memory that they share with the one that encodes them.

A process opens a slide itself, at its first tile: handles neither survive a fork nor pickle. What is read lies in a
few slots of fixed size, so memory is bounded however large a slide is, and nothing is copied between processes.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.data.slide.tiles import Survey, Tiling, reading_order, survey
from medtrain.io.slide import Slide, View

SLOT = 16 * 2**20  # bytes that one reading fills at most
MEMORY = Path("/dev/shm")  # where shared memory is a folder; a container may leave little of it
OPEN = 2  # slides that a process keeps open

__all__ = ["BrokenProcessPool", "Read", "Readers"]


@dataclass(frozen=True)
class Read:
    """Some tiles of a slide.

    Args:
        rows: their numbers in the survey's `coords`.
        tiles: (B, px, px, 3) uint8 RGB; overwritten once the next ones are asked for.
        bad: {row: reason} of those that could not be decoded; their pixels mean nothing.
    """

    rows: NDArray[np.int64]
    tiles: NDArray[np.uint8]
    bad: dict[int, str]


class Readers:
    """Reading processes, or none: with no workers the caller's own process reads.

    Args:
        workers: number of processes.
        px: pixels a side of a tile.
        batch: tiles that are read and encoded together, at most.
    """

    def __init__(self, workers: int, px: int, batch: int) -> None:
        self.workers = workers
        self.shape = (max(1, min(batch, SLOT // (px * px * 3))), px, px, 3)
        self._expected: dict[str, Future[Survey]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._slots: list[NDArray[np.uint8]] = [np.empty(self.shape, np.uint8)]
        if workers:
            count = workers + 2  # one is encoded, one waits for that, the others are being filled
            self._folder = tempfile.TemporaryDirectory(dir=_shared(count * self._slots[0].nbytes))
            files = [str(Path(self._folder.name) / str(number)) for number in range(count)]
            self._slots = [np.memmap(file, np.uint8, "w+", shape=self.shape) for file in files]
            self._files = files

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()
        if self._folder is not None:
            self._slots.clear()
            self._folder.cleanup()

    def stop(self) -> None:
        """End the processes; the next reading starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None
        self._expected.clear()

    @property
    def pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            fresh = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and CUDA's state
            self._pool = ProcessPoolExecutor(self.workers, fresh, _begin, (self._files, self.shape))
        return self._pool

    def expect(self, path: str, tiling: Tiling) -> None:
        """Survey a slide while others are read."""
        if self.workers and path not in self._expected:
            self._expected[path] = self.pool.submit(survey, path, tiling)

    def survey(self, path: str, tiling: Tiling) -> Survey:
        """Look a slide over; ValueError with a short reason, BrokenProcessPool where a process died."""
        if not self.workers:
            return survey(path, tiling)
        self.expect(path, tiling)
        return self._expected.pop(path).result()

    def tiles(self, surveyed: Survey) -> Iterator[Read]:
        """Read all tiles of a survey, neighbours together; each `Read` holds until the next is asked for."""
        order, size = reading_order(surveyed.coords, surveyed.view.edge), self.shape[0]
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        if not self.workers:
            for rows in parts:
                bad = _fill(self._slots[0], surveyed.slide, surveyed.view, surveyed.coords[rows])
                yield self._read(0, rows, bad)
            surveyed.slide.close()
            return
        waiting: deque[tuple[int, NDArray[np.int64], Future[dict[int, str]]]] = deque()
        free = list(range(len(self._slots)))
        try:
            for rows in parts:
                slot = free.pop()
                task = self.pool.submit(_fill_slot, slot, surveyed.slide, surveyed.view, surveyed.coords[rows])
                waiting.append((slot, rows, task))
                if not free:
                    slot, rows, task = waiting.popleft()
                    yield self._read(slot, rows, task.result())
                    free.append(slot)
            while waiting:
                slot, rows, task = waiting.popleft()
                yield self._read(slot, rows, task.result())
        finally:
            for _, _, task in waiting:
                task.cancel()
            for _, _, task in waiting:
                task.cancelled() or task.exception()  # nobody may fill a slot that is about to be used again

    def _read(self, slot: int, rows: NDArray[np.int64], bad: dict[int, str]) -> Read:
        return Read(rows, self._slots[slot][: len(rows)], {int(rows[n]): reason for n, reason in bad.items()})


def _shared(wanted: int) -> str | None:
    """Say where files are memory, if there is room for `wanted` bytes twice over; else None, the temporary folder."""
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return None
    free = os.statvfs(MEMORY)
    return str(MEMORY) if free.f_bavail * free.f_frsize > 2 * wanted else None


def _fill(out: NDArray[np.uint8], slide: Slide, view: View, coords: NDArray[np.int64]) -> dict[int, str]:
    """Read tiles into `out`; {number: reason} of those that cannot be decoded."""
    bad = {}
    for number, (x, y) in enumerate(coords.tolist()):
        try:
            out[number] = slide.tile(view, x, y)
        except ValueError as error:
            bad[number] = str(error)
    return bad


# --- in the processes ---

_slots: list[NDArray[np.uint8]] = []
_slides: OrderedDict[Path, Slide] = OrderedDict()


def _begin(files: list[str], shape: tuple[int, ...]) -> None:
    _slots[:] = [np.memmap(file, np.uint8, "r+", shape=shape) for file in files]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End when the parent is gone, since one that was killed cannot end its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _fill_slot(slot: int, slide: Slide, view: View, coords: NDArray[np.int64]) -> dict[int, str]:
    opened = _slides.pop(slide.path, slide)
    _slides[slide.path] = opened
    while len(_slides) > OPEN:
        _slides.popitem(last=False)[1].close()
    return _fill(_slots[slot], opened, view, coords)
