"""What a store knows: which file holds which content, and where that lies; filled by any number of processes at once.

A process that fills a store writes a segment of its own, numbered N: a file a kind (`N.uint8`, `N.uint16`: pictures one
after the other; `N.facts`, `N.reasons`: a line of JSON each), `N.data` (arrays that facts tell the place of) and
`N.index`, a record a file. The index is written after what it names is safe on the disk, each of its records carries a
checksum, and what it holds is never changed. So a reader needs no lock, and a writer that dies, or a lock that fails,
costs work but gives no wrong content.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtrain.io.stats import stat_file
from medtrain.io.store.files import FILE, FILE_FIELDS, HASH, Finder, Table, digest

RECORD = np.dtype(
    [
        *FILE,
        ("content", "<u8", 2),
        ("identity", "<u8", 2),
        ("start", "<i8"),
        ("length", "<u4"),
        ("segment", "<u4"),
        ("kind", "<u2"),
        ("readers", "<u2"),
        ("check", "<u4"),
    ]
)
DIGITS = 6  # of a segment's number
KINDS = ("uint8", "uint16", "facts", "reasons")
FACTS, REASONS = KINDS.index("facts"), KINDS.index("reasons")
_WORDS = RECORD.itemsize // 4
_WEIGHTS = np.arange(1, 2 * _WORDS - 1, 2, dtype=np.uint32) * np.uint32(2654435761)  # odd: each bit of a word counts


class Place(NamedTuple):
    """Where a content is, or the reason why it has none.

    Attributes:
        segment, kind: name the file.
        start, length: its bytes there.
        identity: the hash of `medtrain.io.content`, of what was read of the file; zeros of reasons.
    """

    segment: int
    kind: int
    start: int
    length: int
    identity: bytes = bytes(HASH)


class Index:
    """What the index files of a folder know; `load` takes in what has been added.

    Args:
        folder: of one form of content; need not be there.
        packages: what reads such files: a newer one may read what an older one could not, so reasons are theirs only.
    """

    def __init__(self, folder: Path, packages: Sequence[str]) -> None:
        self.folder, self.readers = folder, versions(packages)
        self.load()

    def load(self) -> None:
        """Read the index files."""
        tables = [_read(file) for file in sorted(self.folder.glob("*.index"))]
        table: Table = np.concatenate([*tables, np.empty(0, RECORD)])
        self.table = _only(table, self._usable(table))
        self._by_file = Finder(self.table, *FILE_FIELDS)
        self._by_content = Finder(self.table, "content")
        self._texts: dict[Path, bytes] = {}
        self._states: dict[str, tuple[int, int]] = {}

    def _usable(self, table: Table) -> NDArray[np.bool_]:
        """Give records whose bytes are there; reasons that these readers gave."""
        known = (table["kind"] != REASONS) | (table["readers"] == self.readers)
        pairs, index = np.unique(table["segment"] * np.int64(len(KINDS)) + table["kind"], return_inverse=True)
        sizes = [stat_file(self.file(*divmod(int(pair), len(KINDS))))[0] for pair in pairs]
        return known & (table["start"] + table["length"] <= np.array(sizes, np.int64)[index])

    def file(self, segment: int, kind: int) -> Path:
        """Give the file of a kind in a segment."""
        return self.folder / f"{segment:0{DIGITS}d}.{KINDS[kind]}"

    def find_files(self, files: Table) -> NDArray[np.int64]:
        """Give the record of each file that is as it was and whose content is here, -1 for others."""
        return self._if_whole(self._by_file.find(files))

    def find_content(self, content: bytes) -> Place | None:
        """Give the place of a content, if it has one."""
        wanted = np.frombuffer(content, [("content", "<u8", 2)])
        row = int(self._if_whole(self._by_content.find(wanted))[0])
        if row < 0:
            return None
        *_, identity, start, length, segment, kind, _, _ = self.table[row].tolist()
        return Place(segment, kind, start, length, identity.tobytes())

    def text(self, record: np.void) -> Any:
        """Give the facts or the reason of a record."""
        file, start = self.file(int(record["segment"]), int(record["kind"])), int(record["start"])
        if file not in self._texts:
            self._texts[file] = file.read_bytes()
        return json.loads(self._texts[file][start : start + int(record["length"])])

    def _if_whole(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give these records, -1 for facts about a file that is gone, cut short or, if not the store's own, changed."""
        known = rows[rows >= 0]
        gone = [n for n in np.unique(known[self.table["kind"][known] == FACTS]).tolist() if not self._is_whole(n)]
        return np.where(np.isin(rows, gone), -1, rows) if gone else rows

    def _is_whole(self, row: int) -> bool:
        facts = self.text(self.table[row])
        name = facts["file"]
        if name not in self._states:
            self._states[name] = stat_file(self.folder / name)
        size, mtime = self._states[name]
        return bool(size >= facts["stop"] and facts.get("mtime", mtime) == mtime)


def checks(table: Table) -> NDArray[np.uint32]:
    """Compute the checksum of each record."""
    words = np.ascontiguousarray(table).view("<u4").reshape(-1, _WORDS)[:, :-1]
    return words @ _WEIGHTS ^ np.uint32(0x6D656474)  # so that zeros are not right


def versions(packages: Sequence[str]) -> int:
    """Give a number for the installed versions of some packages."""
    names = []
    for name in packages:
        try:
            names.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return int.from_bytes(digest("\n".join(names).encode())[:2], "little")


def _read(file: Path) -> Table:
    """Give the whole records of an index; what a crash has left unfinished fails its checksum."""
    data = file.read_bytes()
    table = np.frombuffer(data[: len(data) // RECORD.itemsize * RECORD.itemsize], RECORD)
    return _only(table, table["check"] == checks(table))


def _only(table: Table, rows: NDArray[np.bool_]) -> Table:
    return table if rows.all() else table[rows]  # a copy of all costs more than the look
