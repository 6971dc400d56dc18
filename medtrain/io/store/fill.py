"""Reads what a store lacks of a list of files: one process at a time, by threads, each content once.

What is done is safe on the disk every few seconds, so that a run that is killed, or a disk that is full, loses only
the last of it.
"""

from __future__ import annotations

import errno
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from medtrain.core.cores import cores
from medtrain.core.errors import MedtrainError
from medtrain.core.progress import Progress
from medtrain.io import closed
from medtrain.io.cache_root import writing_to
from medtrain.io.content import from_bytes
from medtrain.io.files import why_no_file
from medtrain.io.stats import stat_file
from medtrain.io.store.files import Table, digest_file, file_records
from medtrain.io.store.index import REASONS, Index, Place
from medtrain.io.store.lock import only_one
from medtrain.io.store.segment import Segment

Opened = TypeVar("Opened")

COMMIT_SECONDS = 2.0  # what a kill loses at most
SHOW_SECONDS = 0.1  # between news of the progress of small files
CHANGED = "changed while it was read"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ChangedError(Exception):
    """Raised by a codec that has seen its file change."""


class Codec(ABC):
    """How one kind of content is read from a file and kept in a store.

    Attributes:
        folder: of the store.
        packages: what reads such files, see `Index`.
        chunk: files that a thread takes at once: handing over costs as much as a tiny one.
        commit_seconds: what a kill loses at most of what was read.
    """

    folder: Path
    packages: ClassVar[tuple[str, ...]]
    chunk: ClassVar[int] = 1
    commit_seconds: ClassVar[float] = COMMIT_SECONDS

    def state(self, path: str) -> tuple[int, int]:
        """Read size and time of a file; the size is negative where there is none."""
        return stat_file(path)

    def digest(self, path: str) -> bytes:
        """Compute the hash of the content of a file."""
        return digest_file(path)

    def working(self, paths: Sequence[str], workers: int) -> AbstractContextManager[int]:
        """Start what must be there while these files are read; gives the number of threads to read them by."""
        return nullcontext(workers)

    @abstractmethod
    def read(self, path: str, content: bytes, state: tuple[int, int]) -> Any:
        """Read what `write` takes of a file, in a thread; ValueError says why it is none."""

    @abstractmethod
    def write(self, segment: Segment, read: Any) -> Place:
        """Add to a segment what was read."""


@dataclass(frozen=True)
class Entries:
    """What a store has of N files.

    Attributes:
        index: of the store.
        records: (N,) the record of each file.
        good: (N,) has it a content?
        problems: the reason why it has none, by number; none of files that are closed (`medtrain.io.closed`).
        known: (N,) is it known what the file holds? So it is of closed ones.
        looked_at, decoded: how many files were opened now, and how many contents were read.
    """

    index: Index
    records: Table
    good: NDArray[np.bool_]
    problems: dict[int, str]
    known: NDArray[np.bool_]
    looked_at: int
    decoded: int

    def identities(self, rule: str) -> list[str]:
        """Say what each file holds, by `medtrain.io.content`; '' where that is unknown."""
        return from_bytes(rule, self.records["identity"], self.known)

    def opened(self, of: Callable[[Path, dict[str, Any]], Opened]) -> list[Opened | None]:
        """Make something of the facts of each file, given the folder that they lie in; None of problems."""
        made: dict[tuple[int, int], Opened] = {}
        opened: list[Opened | None] = []
        for record, good in zip(self.records, self.good.tolist(), strict=True):
            place = int(record["segment"]), int(record["start"])
            if good and place not in made:
                made[place] = of(self.index.folder, self.index.text(record))
            opened.append(made[place] if good else None)
        return opened


def keep(
    paths: Sequence[str],
    states: NDArray[np.int64],
    codec: Codec,
    progress: Progress | None,
    workers: int | None,
    report: Callable[[str], None],
) -> Entries:
    """Find these files in the store of `codec`, where what is new is read first.

    Args:
        paths: absolute.
        states: (N, 2), `codec.state` of each.
        progress: called with (done, total) of the new files.
        workers: that read; by default one a core.
        report: takes a line that says whom we wait for.

    Raises:
        MedtrainError: the store cannot be written, or the disk is full.
    """
    index = Index(codec.folder, codec.packages)
    filling = _Filling(index, codec, paths, states)
    if filling.todo():
        with writing_to(codec.folder.parent):
            codec.folder.mkdir(parents=True, exist_ok=True)
            with only_one(codec.folder / "lock", report):
                index.load()  # with what another has added while we waited
                if todo := filling.todo():
                    filling.run(todo, progress, workers or cores())
        index.load()
    return filling.result()


@dataclass(frozen=True)
class _Look:
    """What a thread has found out about a file: where its content is already, or what was read, or neither."""

    number: int
    content: bytes = b""
    place: Place | None = None
    read: Any = None
    reason: str = ""
    later: bool = False  # another thread is reading the same content


def _is_no_fault_of_the_file(error: Exception) -> bool:
    """Tell whether the store, its disk or its processes have failed; all else costs one row."""
    full = isinstance(error, OSError) and error.errno in DISK
    return full or isinstance(error, MedtrainError | BrokenExecutor)


def reason_of(error: Exception) -> str:
    """Say why a file could not be read: readers' own words are a ValueError, others are unforeseen."""
    if isinstance(error, ValueError):
        return str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return "does not fit in memory"
    return f"cannot be read ({type(error).__name__}{f': {error}' * bool(str(error))})"


class _Filling:
    """A list of files, and a store that takes in what is new of them."""

    def __init__(self, index: Index, codec: Codec, paths: Sequence[str], states: NDArray[np.int64]) -> None:
        self.index, self.codec, self.paths = index, codec, paths
        self.files = file_records(paths, states)
        self.shut = closed.known_of(paths)
        self.refused: dict[int, str] = {}  # not remembered: it may be otherwise next time
        self.added: dict[bytes, Place] = {}
        self.claims: dict[bytes, int] = {}
        self.looked_at = self.decoded = 0

    def todo(self) -> list[int]:
        """Find the numbers of the files to read."""
        new = (self.index.find_files(self.files) < 0) & (self.files["size"] >= 0) & ~self.shut
        return [int(n) for n in np.flatnonzero(new)]

    def run(self, todo: list[int], progress: Progress | None, workers: int) -> None:
        """Read these files into a segment of their own."""
        total, committed, shown = len(todo), time.monotonic(), 0.0
        with Segment(self.index) as segment, self.codec.working([self.paths[n] for n in todo], workers) as threads:
            while todo:
                later = []
                for look in self._looks(todo, threads):
                    if look.later:
                        later.append(look.number)
                        continue
                    self._take(segment, look)
                    self.looked_at, now = self.looked_at + 1, time.monotonic()
                    if now - committed > self.codec.commit_seconds:
                        segment.commit()
                        committed = time.monotonic()
                    slow = self.codec.chunk == 1 or now - shown > SHOW_SECONDS
                    if progress is not None and (slow or self.looked_at == total):
                        progress(self.looked_at, total)
                        shown = now
                todo = later
                self.claims.clear()

    def _looks(self, numbers: list[int], threads: int) -> Iterator[_Look]:
        """Look at files, by threads that are a few files ahead of who takes the results."""
        if threads == 1:
            yield from map(self._look, numbers)
            return
        chunk = self.codec.chunk
        parts = (numbers[start : start + chunk] for start in range(0, len(numbers), chunk))
        waiting: set[Future[list[_Look]]] = set()
        with ThreadPoolExecutor(threads) as pool:
            try:
                while True:
                    few = islice(parts, 2 * threads - len(waiting))
                    waiting |= {pool.submit(lambda part: [self._look(n) for n in part], part) for part in few}
                    if not waiting:
                        return
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
            finally:
                for future in waiting:
                    future.cancel()

    def _look(self, number: int) -> _Look:
        path, codec = self.paths[number], self.codec
        closed.refuse(path)
        before = int(self.files["size"][number]), int(self.files["mtime"][number])
        try:
            content = codec.digest(path)
        except OSError as error:
            return _Look(number, reason=f"cannot be opened: {error.strerror}")
        read, reason, place = None, "", self.added.get(content) or self.index.find_content(content)
        if place is None and self.claims.setdefault(content, number) != number:
            return _Look(number, later=True)
        try:
            read = codec.read(path, content, before) if place is None else None
        except ValueError as error:
            reason = reason_of(error)
        except ChangedError:
            return _Look(number, reason=CHANGED)
        except Exception as error:
            if _is_no_fault_of_the_file(error):
                raise
            return _Look(number, reason=reason_of(error))
        if codec.state(path) != before:
            return _Look(number, reason=CHANGED)
        return _Look(number, content, place, read, reason)

    def _take(self, segment: Segment, look: _Look) -> None:
        if not look.content:
            self.refused[look.number] = look.reason
            return
        place = look.place
        if place is None:
            self.decoded += 1
            place = segment.add_text(REASONS, look.reason) if look.reason else self.codec.write(segment, look.read)
            self.added[look.content] = place
        segment.note(self.files[look.number], look.content, place)

    def result(self) -> Entries:
        """Sum up what is known now."""
        index, rows = self.index, self.index.find_files(self.files)
        records = index.table[rows] if len(index.table) else np.zeros(len(rows), index.table.dtype)
        good = (rows >= 0) & (records["kind"] != REASONS)
        lacking = np.flatnonzero(~good & ~(self.shut & (rows < 0))).tolist()
        problems = {n: self._why(n, records[n] if rows[n] >= 0 else None) for n in lacking}
        for n in np.flatnonzero(self.shut & (rows < 0)).tolist():
            records["identity"][n] = np.frombuffer(bytes.fromhex(closed.shut(self.paths[n]) or ""), "<u8")
        known = good | (self.shut & (rows < 0))
        closed.note(self.paths, records["identity"], known)
        return Entries(index, records, good, problems, known, self.looked_at, self.decoded)

    def _why(self, number: int, record: np.void | None) -> str:
        if record is not None:
            return str(self.index.text(record))
        if self.files["size"][number] < 0:
            return why_no_file(self.paths[number])
        return self.refused.get(number, CHANGED)
