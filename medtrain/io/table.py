"""A user's table as it is on disk: rows of text, and where each stands."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, UsageError
from medtrain.core.words import nearest
from medtrain.io.cells import apart, categories, cleaned, is_unknown, names
from medtrain.io.table_files import is_table_name, table_text


class Where(Sequence[str]):
    """File and row of each position, as messages have them; made when one is asked for."""

    def __init__(self, name: str, row_N: NDArray[np.int64]) -> None:
        self.name, self.row_N = name, row_N

    def __len__(self) -> int:
        return len(self.row_N)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return Where(self.name, self.row_N[position])
        return f"{self.name} row {self.row_N[position]}"


@dataclass(frozen=True)
class RawTable:
    """Rows as text: identifiers keep their zeros.

    Args:
        file: where it came from.
        text: the rows, indexed by the row numbers a spreadsheet shows (the header is 1).
        content, separator: what `typed` is read from; none where all is text.
    """

    file: Path
    text: pd.DataFrame
    content: str = field(default="", repr=False)
    separator: str = ","

    @cached_property
    def typed(self) -> pd.DataFrame:
        """Type the rows (ages are numbers, what says that nothing is known is NaN), when first asked for."""
        return self.typed_but(())

    def typed_but(self, words: Collection[str]) -> pd.DataFrame:
        """Type the rows, where cells with these words are texts even if they may say that nothing is known."""
        if not self.content:
            return self.text
        cells = {cell for name in self.text for cell in set(self.column(str(name))) if is_unknown(cell)}
        missing = {"keep_default_na": False, "na_values": sorted({"", *cells} - set(words))}
        return _parse(self.content, self.separator, low_memory=False, **missing).loc[self.text.index]

    def where(self, row: int) -> str:
        return f"{self.file.name} row {row}"

    def places(self) -> Sequence[str]:
        """Name `where` of each position."""
        return Where(self.file.name, self.text.index.to_numpy())

    def column(self, name: str) -> list[str]:
        """Take the cells of a column; to go through a Series itself takes ten times as long."""
        return list(self.text[name].tolist())

    def known_names(self, column: str) -> list[str]:
        """Take the cells of a column as names (see `medtrain.io.cells`), '' where nothing is known."""
        return names(self.column(column), unknown=False)

    def categories(self, column: str) -> list[str]:
        """Take the cells of a column as categories (see `medtrain.io.cells`), '' where nothing is known."""
        return categories(self.column(column))

    def select(self, keep: Any) -> RawTable:
        return replace(self, text=self.text[keep])


@dataclass(frozen=True)
class Listing(RawTable):
    """Rows that stand in no table: files of a folder, pictures of an archive.

    Args:
        names: what each row is called; `text` is indexed by position.
    """

    names: Sequence[str] = ()

    def where(self, row: int) -> str:
        return self.names[row]

    def places(self) -> Sequence[str]:
        return [self.names[row] for row in self.text.index]

    @classmethod
    def of(cls, file: Path, columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> Listing:
        """Make a listing from columns of equal length, all text."""
        rows = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()}, dtype=str)
        return cls(file, rows, names=names)


def read_table(path: Path, key: str = "data.table") -> RawTable:
    """Read a CSV (comma, semicolon or tab) with a header, or what else `table_text` knows.

    Raises:
        UsageError: there is no such file, or it is in a format that is not read.
        DataError: it is empty, in an unknown encoding, or ragged.
    """
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*") if is_table_name(p)] if path.parent.is_dir() else []
        raise UsageError(f"{key}: no such file: {path}{nearest(path.name, beside)}")
    content = table_text(path, key)
    if not content.strip():
        raise DataError(f"{path} is empty; it needs a header and a row for each image")
    if "\0" in content:
        line = content[: content.index("\0")].count("\n") + 1
        raise DataError(f"{path} is damaged, or no text: its line {line} holds a zero byte")
    header = content.lstrip("\r\n").splitlines()[0]
    separator = max(",;\t", key=header.count)
    try:
        text = _parse(content, separator, dtype=str, keep_default_na=False, na_filter=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a regular CSV: {str(error).strip()}") from None
    text = text.apply(lambda column: pd.Series([cell.strip() for cell in column.tolist()], column.index, dtype=str))
    blank = (text == "").all(axis=1).to_numpy(bool)
    return RawTable(path, text[~blank], content, separator)


def _parse(content: str, separator: str, **options: Any) -> pd.DataFrame:
    # index_col=False: NIH's tables end each row with a comma too many.
    table = pd.read_csv(io.StringIO(content), sep=separator, index_col=False, skip_blank_lines=False, **options)
    table.columns = apart([cleaned(str(name)) for name in table.columns])
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table
