"""Files told by path, size and time, contents by a hash: what is known of them is found without opening them."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError

Table = NDArray[Any]  # of records that begin with FILE

HASH = 16  # bytes
FILE: list[tuple[Any, ...]] = [("path", "<u8", 2), ("size", "<i8"), ("mtime", "<i8")]  # mtime in ns
FILE_FIELDS = tuple(field[0] for field in FILE)


def digest(data: bytes) -> bytes:
    """Hash some bytes."""
    return hashlib.blake2b(data, digest_size=HASH).digest()


def digest_file(path: str | os.PathLike[str]) -> bytes:
    """Hash what a file holds."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH)).digest()


def mapped(path: Path) -> NDArray[np.uint8]:
    """Map a file of a store into memory, as long as the array lives."""
    try:
        with open(path, "rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise MedtrainError(f"{path} is gone: the cache was emptied during the run; start again") from None


def as_numbers(hashes: Sequence[bytes]) -> NDArray[np.uint64]:
    """Give hashes as numbers (N, 2)."""
    return np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2)


def file_records(paths: Sequence[str], states: NDArray[np.int64], dtype: Any = FILE) -> Table:
    """Make a record of each file; paths are absolute, `states` as of `stat_files`, further fields of `dtype` zero."""
    records = np.zeros(len(paths), np.dtype(dtype))
    if len(paths):
        records["path"] = as_numbers([digest(os.fsencode(path)) for path in paths])
        records["size"], records["mtime"] = np.asarray(states, np.int64).T
    return records


class Finder:
    """Find records of a table that have the same fields, of several the last.

    Args:
        fields: the first is a hash.
    """

    def __init__(self, table: Table, *fields: str) -> None:
        self.table, self.fields = table, fields
        self._order = np.argsort(table[fields[0]][:, 0], kind="stable")
        self._hashes = table[fields[0]][self._order, 0]

    def find(self, wanted: Table) -> NDArray[np.int64]:
        """Find the number of the record that is like each of these, -1 where there is none."""
        if not len(self.table):
            return np.full(len(wanted), -1)
        # Where 64 bits of two hashes tie, one of them is just not found.
        hashes = wanted[self.fields[0]][:, 0]
        order = np.argsort(hashes)  # neighbours are looked up in turn: several times as fast in a long table
        last = np.empty(len(wanted), np.int64)
        last[order] = np.searchsorted(self._hashes, hashes[order], "right") - 1
        rows = self._order[np.maximum(last, 0)]
        same = np.ones(len(rows), bool)
        for field in self.fields:
            equal = self.table[field][rows] == wanted[field]
            same &= equal.all(1) if equal.ndim > 1 else equal
        return np.where(same, rows, -1)
