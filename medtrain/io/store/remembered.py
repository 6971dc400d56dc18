"""What was found out about files, kept for as long as they have their size and time: a start need not open them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.files import atomic_path
from medtrain.io.store.files import FILE, FILE_FIELDS, Finder, Table, file_records


class Remembered:
    """Texts of at most `width` ASCII characters by file; several processes may lose one another's news, no more.

    Args:
        memory: the .npy file that holds them; need not be there.
    """

    def __init__(self, memory: Path, width: int) -> None:
        self.memory = memory
        self.record = np.dtype([*FILE, ("text", f"S{width}")])

    def recall(self, paths: Sequence[str], states: NDArray[np.int64]) -> list[str | None]:
        """Give the text of each file that is as it was, None of others; paths absolute, states as of `stat_files`."""
        known = self._load()
        rows = Finder(known, *FILE_FIELDS).find(file_records(paths, states)).tolist()
        return [known["text"][row].decode() if row >= 0 else None for row in rows]

    def add(self, paths: Sequence[str], states: NDArray[np.int64], texts: Sequence[str]) -> None:
        """Remember more; where the memory cannot be written, nothing."""
        new, known = file_records(paths, states, self.record), self._load()
        new["text"] = [text.encode() for text in texts]
        others = known[~np.isin(known["path"][:, 0], new["path"][:, 0])]
        with suppress(OSError), atomic_path(self.memory) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate([others, new]))

    def _load(self) -> Table:
        try:
            known: Table = np.load(self.memory)
        except (OSError, ValueError, EOFError):
            return np.empty(0, self.record)
        return known if known.dtype == self.record else np.empty(0, self.record)
