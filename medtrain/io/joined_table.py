"""Two tables as one: a row of the first for each row of the second that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from medtrain.io.table import RawTable


@dataclass(frozen=True)
class Joined(RawTable):
    """Rows of a table with what another says of them.

    Args:
        names: where each row stands, file and row of its table; `text` is indexed from 2, as `typed` is read.
    """

    names: Sequence[str] = ()

    def where(self, row: int) -> str:
        return self.names[row - 2]

    def places(self) -> Sequence[str]:
        return [self.names[row - 2] for row in self.text.index]

    @classmethod
    def of(cls, left: RawTable, right: RawTable, rows: Sequence[tuple[int, int]]) -> Joined:
        """Put rows of both side by side, of columns of one name the left's.

        Args:
            rows: positions in both, a pair a row.
        """
        of_left = left.text.iloc[[pair[0] for pair in rows]].reset_index(drop=True)
        of_right = right.text.iloc[[pair[1] for pair in rows]].reset_index(drop=True)
        more = [name for name in of_right.columns if name not in of_left.columns]
        text = pd.concat([of_left, of_right[more]], axis=1)
        text.index = pd.RangeIndex(2, len(text) + 2)
        places = left.places()
        return cls(left.file, text, text.to_csv(index=False), names=[places[pair[0]] for pair in rows])
