"""Pictures of one form on disk, found by their content; filled by any number of processes, and never torn.

A process that fills the store writes a segment of its own, numbered N: `N.uint8` and `N.uint16` (pixels, one record of
fixed size a picture), `N.reasons` (why a file is no picture) and `N.index` (a record a file: its path, size and time,
the hashes of its bytes and of what they decode to, and where the pixels of that content are, in this segment or an
older one). The index is written after what it names is safe on the disk, each of its records carries a checksum, and
what it holds is never changed. So a reader needs no lock, and a writer that dies, or a lock that fails, costs work but
no wrong picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Table = NDArray[Any]  # of RECORD

HASH = 16  # bytes
RECORD = np.dtype(
    [
        ("path", "<u8", 2),
        ("size", "<i8"),
        ("mtime", "<i8"),  # ns
        ("content", "<u8", 2),
        ("identity", "<u8", 2),  # of the decoded pixels, see `medtrain.io.content`; 0 of what is no picture
        ("segment", "<u4"),
        ("slot", "<u4"),  # number of the pixel record; of a reason, its first byte
        ("kind", "<u2"),
        ("readers", "<u2"),
        ("check", "<u4"),
    ]
)
KINDS = ("uint8", "uint16", "reasons")
REASON = KINDS.index("reasons")
_WORDS = RECORD.itemsize // 4 - 1  # beside the checksum
_ODD = np.arange(1, 2 * _WORDS, 2, dtype=np.uint32)  # so that each bit of a word counts
_WEIGHTS = _ODD * np.uint32(2654435761)
_READERS = ("medtrain", "pillow", "pydicom", "python-gdcm", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")


class Place(NamedTuple):
    """Where the pixels of a content are, or why it has none; and the hash of what was decoded."""

    segment: int
    slot: int
    kind: int
    identity: bytes = bytes(HASH)


class ImageStore:
    """What the index of a folder knows; `load` takes in what has been added.

    Args:
        folder: of one form of pictures; need not be there.
        shape: (C, H, W) of each.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder, self.shape = folder, shape
        self.readers = readers(_READERS)
        self.load()

    def load(self) -> None:
        tables = [_read_index(file) for file in sorted(self.folder.glob("*.index"))]
        table: Table = np.concatenate([*tables, np.empty(0, RECORD)])
        self.table = table[self._usable(table)]
        self._by_path = np.argsort(self.table["path"][:, 0], kind="stable")
        self._by_content = np.argsort(self.table["content"][:, 0], kind="stable")
        self._paths = self.table["path"][self._by_path, 0]
        self._contents = self.table["content"][self._by_content, 0]

    def _usable(self, table: Table) -> NDArray[np.bool_]:
        """Records whose pixels are there; reasons that these readers gave (others may read what they could not)."""
        known = (table["kind"] < REASON) | (table["readers"] == self.readers)
        where, index = np.unique(table["segment"] * np.int64(len(KINDS)) + table["kind"], return_inverse=True)
        counts = np.array([self.count(*divmod(int(pair), len(KINDS))) for pair in where], np.int64)
        return known & (table["slot"] < counts[index])

    def file(self, segment: int, kind: int) -> Path:
        return self.folder / f"{segment:06d}.{KINDS[kind]}"

    def count(self, segment: int, kind: int) -> int:
        """How many whole pixel records (or bytes of reasons) a segment has."""
        try:
            size = os.path.getsize(self.file(segment, kind))
        except OSError:
            return 0
        return size if kind == REASON else size // (int(np.prod(self.shape)) * np.dtype(KINDS[kind]).itemsize)

    def find_files(self, path: NDArray[np.uint64], size: NDArray[np.int64], mtime: NDArray[np.int64]) -> NDArray[Any]:
        """The record of each file that is as it was, -1 for others. `path` (N, 2) as `hashes` gives it."""
        if not len(self.table):
            return np.full(len(path), -1)
        # The newest record of a path stands last. Where 64 bits of two hashes tie, one of them is just not found.
        order = np.argsort(path[:, 0])  # neighbours are looked up in turn: several times as fast in a long table
        at = np.empty(len(path), np.int64)
        at[order] = np.searchsorted(self._paths, path[order, 0], "right") - 1
        at = self._by_path[np.maximum(at, 0)]
        there = self.table[at]
        same = (there["path"] == path).all(1) & (there["size"] == size) & (there["mtime"] == mtime)
        return np.where(same, at, -1)

    def find_content(self, content: bytes) -> Place | None:
        pair = hashes([content])[0]
        at = int(np.searchsorted(self._contents, pair[0], "right")) - 1
        if at < 0 or (self.table["content"][self._by_content[at]] != pair).any():
            return None
        there = self.table[self._by_content[at]]
        return Place(int(there["segment"]), int(there["slot"]), int(there["kind"]), there["identity"].tobytes())

    def reason(self, record: int) -> str:
        there = self.table[record]
        with open(self.file(int(there["segment"]), REASON), "rb") as file:
            file.seek(int(there["slot"]))
            return str(json.loads(file.readline()))


class Segment:
    """The files that one process adds to a store; a context that commits what is whole, however it ends."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self._open: dict[str, int] = {}
        self._slots = [0] * len(KINDS)
        self._records: list[tuple[Any, ...]] = []
        self.number = max((int(file.stem) for file in store.folder.glob("[0-9]*.*")), default=0)
        while "index" not in self._open:
            self.number += 1
            try:
                self._create("index")
            except FileExistsError:  # of another writer, who has lost its lock or does not see ours
                continue

    def _create(self, suffix: str) -> int:
        file = self.store.folder / f"{self.number:06d}.{suffix}"
        self._open[suffix] = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        return self._open[suffix]

    def add(self, kind: int, data: bytes, identity: bytes = bytes(HASH)) -> Place:
        """Write one picture or reason. On a full disk that is an error; a memory map would end in SIGBUS."""
        suffix = KINDS[kind]
        _write(self._open[suffix] if suffix in self._open else self._create(suffix), data)
        place = Place(self.number, self._slots[kind], kind, identity)
        self._slots[kind] += len(data) if kind == REASON else 1
        return place

    def note(self, path: NDArray[np.uint64], size: int, mtime: int, content: bytes, place: Place) -> None:
        """A file and the place of its content, for the next `commit`."""
        readers = self.store.readers if place.kind == REASON else 0
        hashed = [np.frombuffer(key, "<u8") for key in (content, place.identity)]
        self._records.append((path, size, mtime, *hashed, *place[:3], readers, 0))

    def commit(self) -> None:
        if not self._records:
            return
        for suffix, handle in self._open.items():
            if suffix != "index":
                os.fsync(handle)
        table = np.array(self._records, RECORD)
        table["check"] = _checks(table)
        _write(self._open["index"], table.tobytes())
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


def hashes(keys: list[bytes]) -> NDArray[np.uint64]:
    """Hashes of 16 bytes as numbers (N, 2)."""
    return np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)


def short_hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH).digest()


def path_hashes(paths: Iterable[str]) -> NDArray[np.uint64]:
    """Hashes of files' names (N, 2)."""
    return hashes([blake2b(name, digest_size=HASH).digest() for name in map(os.fsencode, paths)])


def _read_index(file: Path) -> Table:
    """The whole records of an index; what a crash has left unfinished fails its checksum."""
    data = file.read_bytes()
    table = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)
    return table[table["check"] == _checks(table)]


def _checks(table: Table) -> NDArray[np.uint32]:
    words = np.ascontiguousarray(table).view("<u4").reshape(-1, RECORD.itemsize // 4)[:, :-1]
    return (words * _WEIGHTS).sum(1, dtype=np.uint32) ^ np.uint32(0x6D656474)  # so that zeros are not right


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def readers(packages: Sequence[str]) -> int:
    """A number for the versions of what reads pictures: a newer one may read what an older one could not."""
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return int.from_bytes(short_hash("\n".join(versions).encode())[:2], "little")
