"""What one process adds to a store: written, made safe on the disk, and only then named in the index."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.content import to_bytes
from medtrain.io.store.files import HASH, as_numbers
from medtrain.io.store.index import DIGITS, KINDS, REASONS, RECORD, Index, Place, checks

ALIGN = 64  # bytes, of arrays in N.data


class Segment:
    """The files that one process adds to a store; a context that commits what is whole, however it ends."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._open: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._records: list[tuple[Any, ...]] = []
        stems = [file.stem for file in index.folder.glob("[0-9]*.*") if len(file.stem) == DIGITS]
        self.number = max((int(stem) for stem in stems if stem.isdecimal()), default=0)
        while "index" not in self._open:
            self.number += 1
            try:
                self._create("index")
            except FileExistsError:  # of another writer, who has lost its lock or does not see ours
                continue

    def _create(self, suffix: str) -> None:
        file = self.index.folder / f"{self.number:0{DIGITS}d}.{suffix}"
        self._open[suffix] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._sizes[suffix] = 0

    def _append(self, suffix: str, data: bytes | memoryview) -> int:
        """Write on; returns where. On a full disk that is an error; a memory map would end in SIGBUS."""
        if suffix not in self._open:
            self._create(suffix)
        start, view = self._sizes[suffix], memoryview(data).cast("B")
        self._sizes[suffix] += len(view)
        while view:
            view = view[os.write(self._open[suffix], view) :]
        return start

    def add(self, kind: int, data: bytes, identity: str = "") -> Place:
        """Write one content of a kind, which is what `identity` says (`medtrain.io.content`)."""
        start = self._append(KINDS[kind], data)
        return Place(self.number, kind, start, len(data), to_bytes(identity).ljust(HASH, b"\0"))

    def add_text(self, kind: int, text: Any, identity: str = "") -> Place:
        """Write facts or a reason."""
        return self.add(kind, json.dumps(text).encode() + b"\n", identity)

    def add_array(self, array: NDArray[Any]) -> tuple[str, int]:
        """Write an array that facts are going to tell of; returns the name of its file and where it starts there."""
        self._append("data", bytes(-self._sizes.get("data", 0) % ALIGN))
        return f"{self.number:0{DIGITS}d}.data", self._append("data", np.ascontiguousarray(array).data)

    def note(self, file: np.void, content: bytes, place: Place) -> None:
        """Take down a file and the place of its content, for the next `commit`."""
        numbers = as_numbers([content, place.identity])
        readers = self.index.readers if place.kind == REASONS else 0
        where = (place.start, place.length, place.segment, place.kind)
        self._records.append((file["path"], file["size"], file["mtime"], *numbers, *where, readers, 0))

    def commit(self) -> None:
        """Make what was noted safe and known."""
        if not self._records:
            return
        for suffix, handle in self._open.items():
            if suffix != "index":
                os.fsync(handle)
        table = np.array(self._records, RECORD)
        table["check"] = checks(table)
        self._append("index", table.tobytes())
        os.fsync(self._open["index"])
        self._records = []

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.commit()
        except OSError:
            if error is None:
                raise
        finally:
            for handle in self._open.values():
                os.close(handle)
