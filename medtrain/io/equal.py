"""Which files have the same content, without hashing all of them: only files of one size are compared."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from medtrain.io.files import sha256

HEAD = 64 * 1024


def content_labels(paths: Sequence[str | os.PathLike[str]]) -> NDArray[np.int64]:
    """A number for each file, the same for files with the same bytes; empty and unreadable ones are like no other.

    Sizes come first, then a hash of the first 64 KB, then one of the whole file, each only where the one before ties.
    """
    groups = _ties(range(len(paths)), [_size(path, n) for n, path in enumerate(paths)])
    for hash_file in (_head, sha256):
        rows = [row for group in groups for row in group]
        with ThreadPoolExecutor() as pool:
            hashes = dict(
                zip(rows, pool.map(_quiet, [hash_file] * len(rows), [paths[row] for row in rows], rows), strict=True)
            )
        groups = [tied for group in groups for tied in _ties(group, [hashes[row] for row in group])]
    labels = np.arange(len(paths), dtype=np.int64)
    for group in groups:
        labels[group] = group[0]
    return labels


def _ties(rows: Iterable[int], keys: Sequence[Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in zip(rows, keys, strict=True):
        groups[key].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _size(path: str | os.PathLike[str], row: int) -> Hashable:
    return _quiet(os.path.getsize, path, row) or ("empty", row)


def _quiet(read: Callable[..., Hashable], path: str | os.PathLike[str], row: int) -> Hashable:
    try:
        return read(path)
    except OSError:
        return ("unreadable", row)


def _head(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.blake2b(file.read(HEAD), digest_size=16).hexdigest()
