"""What was found out about files, kept for as long as they have their size and time: a start need not open them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.files import atomic_path
from medtrain.io.image_store import path_hashes


class Remembered:
    """Texts of at most `width` ASCII characters by file; several processes may lose one another's news, no more.

    Args:
        memory: the .npy file that holds them; need not be there.
    """

    def __init__(self, memory: Path, width: int) -> None:
        self.memory = memory
        self.record = np.dtype([("path", "<u8", 2), ("size", "<i8"), ("mtime", "<i8"), ("text", f"S{width}")])

    def recall(self, paths: Sequence[str], states: NDArray[np.int64]) -> list[str | None]:
        """The text of each file that is as it was, None of others; paths are absolute, states as of `stat_files`."""
        wanted, known = self._records(paths, states), self._load()
        if not len(known):
            return [None] * len(paths)
        order = np.argsort(known["path"][:, 0], kind="stable")
        at = np.searchsorted(known["path"][order, 0], wanted["path"][:, 0])
        there = known[order[np.minimum(at, len(order) - 1)]]
        same = (there["path"] == wanted["path"]).all(1)
        same &= (there["size"] == wanted["size"]) & (there["mtime"] == wanted["mtime"])
        return [text.decode() if s else None for text, s in zip(there["text"].tolist(), same.tolist(), strict=True)]

    def add(self, paths: Sequence[str], states: NDArray[np.int64], texts: Sequence[str]) -> None:
        """Remember more; where the memory cannot be written, nothing."""
        new, known = self._records(paths, states), self._load()
        new["text"] = [text.encode() for text in texts]
        kept = known[~np.isin(known["path"][:, 0], new["path"][:, 0])]
        with suppress(OSError), atomic_path(self.memory) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate([kept, new]))

    def _records(self, paths: Sequence[str], states: NDArray[np.int64]) -> NDArray[np.void]:
        records = np.zeros(len(paths), self.record)
        if len(paths):
            records["path"] = path_hashes(paths)
            records["size"], records["mtime"] = np.asarray(states, np.int64).T
        return records

    def _load(self) -> NDArray[np.void]:
        try:
            known: NDArray[np.void] = np.load(self.memory)
        except (OSError, ValueError, EOFError):
            return np.empty(0, self.record)
        return known if known.dtype == self.record else np.empty(0, self.record)
