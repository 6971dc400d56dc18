"""Decodes what a store of pictures lacks: by threads, one process at a time, each content once.

What is done is safe on the disk every few seconds, so that a run that is killed, or a disk that is full, loses only
the last of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtrain.io.cache_root import writing_to
from medtrain.io.content import to_bytes
from medtrain.io.image import ImageForm, Pixels, read_identified, why_no_file
from medtrain.io.image_store import KINDS, REASON, ImageStore, Place, Segment, path_hashes
from medtrain.io.only_one import only_one
from medtrain.io.stats import stat_file

TASK = 8  # pictures a thread takes at once: handing over costs as much as a tiny one
COMMIT_SECONDS = 2.0  # what a kill loses at most
CHANGED = "changed while it was read"

Progress = Callable[[int, int], None]


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


class Wanted:
    """The wanted files, with what identifies them in the index."""

    def __init__(self, paths: list[str], states: NDArray[np.int64]) -> None:
        self.paths = paths
        self.size, self.mtime = states.T
        self.hash = path_hashes(paths)
        self.refused: dict[int, str] = {}  # not remembered: it may be otherwise next time

    def records(self, store: ImageStore) -> NDArray[np.int64]:
        return store.find_files(self.hash, self.size, self.mtime)

    def new(self, store: ImageStore) -> NDArray[np.int64]:
        return np.flatnonzero((self.records(store) < 0) & (self.size >= 0))

    def why(self, store: ImageStore, number: int, record: int) -> str:
        """Why a file has no pixels, by its number and its record (-1 for none)."""
        if record >= 0:
            return store.reason(record)
        return self.refused.get(number) or (CHANGED if self.size[number] >= 0 else why_no_file(self.paths[number]))


def fill(
    store: ImageStore,
    wanted: Wanted,
    form: ImageForm,
    progress: Progress | None,
    workers: int,
    report: Callable[[str], None],
) -> int:
    """Decode what `store` lacks of the wanted files; returns how many were decoded. See `cache_images`."""
    if not len(wanted.new(store)):
        return 0
    with writing_to(store.folder.parent):
        store.folder.mkdir(parents=True, exist_ok=True)
        with only_one(store.folder / "lock", report):
            store.load()  # what another has added while we waited
            with Segment(store) as segment:
                decoded = _Filling(store, segment, wanted, form).run(progress, workers)
    store.load()
    return decoded


@dataclass(frozen=True)
class _Read:
    """What a thread has found out about a file: where its content is already, or its content and pixels, or neither."""

    content: bytes = b""
    place: Place | None = None
    pixels: Pixels | None = None
    identity: bytes = b""
    reason: str = ""
    later: bool = False  # another thread is decoding the same content


class _Filling:
    """Reads the new ones of a list of files into a segment."""

    def __init__(self, store: ImageStore, segment: Segment, wanted: Wanted, form: ImageForm) -> None:
        self.store, self.segment, self.wanted, self.form = store, segment, wanted, form
        self.added: dict[bytes, Place] = {}
        self.claims: dict[bytes, int] = {}
        self.decoded = 0

    def run(self, progress: Progress | None, workers: int) -> int:
        """Returns how many files were decoded."""
        todo = self.wanted.new(self.store).tolist()
        done, total, committed, shown = 0, len(todo), time.monotonic(), 0.0
        with ThreadPoolExecutor(workers) as pool:
            while todo:
                later = []
                for number, read in zip(todo, _ahead(pool, self._read, todo, 2 * workers), strict=True):
                    if read.later:
                        later.append(number)
                        continue
                    self._keep(number, read)
                    done, now = done + 1, time.monotonic()
                    if now - committed > COMMIT_SECONDS:
                        self.segment.commit()
                        committed = time.monotonic()
                    if progress is not None and (done == total or now - shown > 0.1):
                        progress(done, total)
                        shown = now
                todo = later
                self.claims.clear()
        return self.decoded

    def _read(self, number: int) -> _Read:
        path, before = self.wanted.paths[number], (self.wanted.size[number], self.wanted.mtime[number])
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        except OSError as error:
            return _Read(reason=f"cannot be opened: {error.strerror}")
        if (place := self.added.get(content) or self.store.find_content(content)) is not None:
            return _Read(content, place)
        if self.claims.setdefault(content, number) != number:
            return _Read(later=True)
        try:
            pixels, identity = read_identified(path, self.form)
            read = _Read(content, pixels=pixels, identity=to_bytes(identity))
        except ValueError as error:
            read = _Read(content, reason=str(error))
        return read if stat_file(path) == before else _Read(reason=CHANGED)

    def _keep(self, number: int, read: _Read) -> None:
        if not read.content:
            self.wanted.refused[number] = read.reason
            return
        place = read.place
        if place is None:
            self.decoded += 1
            if read.pixels is None:
                place = self.segment.add(REASON, json.dumps(read.reason).encode() + b"\n")
            else:
                place = self.segment.add(KINDS.index(read.pixels.dtype.name), read.pixels.tobytes(), read.identity)
            self.added[read.content] = place
        wanted = self.wanted
        self.segment.note(wanted.hash[number], wanted.size[number], wanted.mtime[number], read.content, place)


def _ahead(pool: ThreadPoolExecutor, work: Callable[[int], _Read], items: list[int], tasks: int) -> Iterator[_Read]:
    """`pool.map` that is at most `tasks` of a few items ahead of who takes the results."""
    waiting: deque[Future[list[_Read]]] = deque()
    try:
        for start in range(0, len(items), TASK):
            waiting.append(pool.submit(lambda part: [work(item) for item in part], items[start : start + TASK]))
            if len(waiting) > tasks:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
