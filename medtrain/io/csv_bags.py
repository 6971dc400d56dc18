"""Bags of one CSV, as the classical sets of multiple-instance learning come: bag label, bag id, features; a row an
instance."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.io.content import first_with_same, of_features

LABEL, BAG = ("label", "bag_label", "class", "target", "y"), ("bag", "bag_id", "id", "bag_name")


@dataclass(frozen=True)
class CsvBags:
    """The bags of a file, in the order of their first rows; see `PackedBags` for what they share with files of bags.

    Attributes:
        names: of the bags.
        labels: of the bags, as written.
        places: the first row of each bag, as spreadsheets count.
        conflicts: bags with rows of several labels.
        problems: {number: reason} of bags with features that are no numbers.
    """

    file: Path
    names: list[str]
    labels: list[str]
    first: list[int]
    x_ND: NDArray[np.float32]
    rows: list[NDArray[np.int64]]
    conflicts: list[tuple[int, Problem]]
    problems: dict[int, str]
    packed = 0

    @cached_property
    def identities(self) -> list[str]:
        """What each bag is, by `medtrain.io.content`; '' of problems."""
        return ["" if n in self.problems else of_features(self.instances(n)) for n in range(len(self))]

    @property
    def content(self) -> NDArray[np.int64]:
        """(M,) the number of the first bag with the same features."""
        return first_with_same(self.identities)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(rows) for rows in self.rows], np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, bags: Sequence[int]) -> list[NDArray[Any]]:
        """Take the instances of several bags, as of other contents of rows."""
        return [self.instances(bag) for bag in bags]

    def shape(self, bag: int) -> tuple[int, ...]:
        return self.x_ND.shape[1:]

    def instances(self, bag: int) -> NDArray[Any]:
        return self.x_ND[self.rows[bag]]

    def coords(self, bag: int) -> None:
        """Return no coordinates: such bags have no place."""
        return None

    def placed(self, bag: int) -> bool:
        """Tell that nobody knows where its instances lie."""
        return False

    def geometry(self, bag: int) -> dict[str, Any]:
        return {}


def is_csv_bags(path: Path) -> bool:
    """Tell whether this is a CSV of bags, with nothing but numbers behind the first two columns, or one of files."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        lines = [file.readline().strip().split(",") for _ in range(2)]
    if len(lines[0]) < 3:
        return False
    numbers, below = ([_is_number(cell) for cell in line[2:]] for line in lines)
    return all(numbers) or (_has_header(lines[0]) and not any(numbers) and bool(below) and all(below))


def read_csv_bags(path: Path) -> CsvBags:
    """Read all bags of a file.

    Raises:
        DataError: it is ragged, or holds nothing. What is wrong with single bags is listed in `conflicts`.
    """
    try:
        table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        width = len(table[0])
        if width < 3:
            raise ValueError(f"its first line has {width} cells")
        long = next((n for n, row in enumerate(table, 1) if len(row) > width), None)
        if long is not None:
            raise ValueError(f"{width} cells in its first line, {len(table[long - 1])} in line {long}")
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        raise DataError(f"{path} is no CSV of bags (bag label, bag id, features): {str(error).strip()}") from None
    header = 0 if not all(_is_number(cell) for cell in table[0][2:]) else None
    table = [
        row + [""] * (width - len(row)) if len(row) < width else row for row in table[0 if header is None else 1 :]
    ]
    if not table:
        raise DataError(f"{path} is no CSV of bags (bag label, bag id, features): no rows")
    names, labels = ([row[column].strip() for row in table] for column in (1, 0))
    x_ND = np.array([[_number(cell) for cell in row[2:]] for row in table], np.float32)  # None becomes NaN
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        groups.setdefault(name, []).append(row)
    offset = 1 if header is None else 2
    rows_of = [np.array(rows) for rows in groups.values()]
    where = [int(rows[0]) + offset for rows in rows_of]
    conflicts = [
        (n, problem) for n, rows in enumerate(rows_of) for problem in _conflict(path.name, rows, names, labels, offset)
    ]
    problems = {n: fault for n, rows in enumerate(rows_of) if (fault := _no_numbers(x_ND, rows, offset))}
    return CsvBags(path, list(groups), [labels[rows[0]] for rows in rows_of], where, x_ND, rows_of, conflicts, problems)


def _conflict(file: str, rows: NDArray[np.int64], names: list[str], labels: list[str], offset: int) -> list[Problem]:
    """Find the first row of a bag whose label is another than its first one's."""
    first = int(rows[0])
    other = next((int(row) for row in rows if labels[row] != labels[first]), None)
    if other is None:
        return []
    detail = (
        f"label {labels[other]!r}, where row {first + offset} of the same bag {names[first]!r} has {labels[first]!r}"
    )
    return [Problem("label_conflict", f"{file} row {other + offset}", detail)]


def _no_numbers(x_ND: NDArray[Any], rows: NDArray[np.int64], offset: int) -> str:
    bad = rows[~np.isfinite(x_ND[rows]).all(axis=1)]
    if not len(bad):
        return ""
    column = int(np.flatnonzero(~np.isfinite(x_ND[bad[0]]))[0]) + 3
    return f"no finite number in column {column} of row {bad[0] + offset}" + f", and {len(bad) - 1} more rows" * (
        len(bad) > 1
    )


def _has_header(cells: list[str]) -> bool:
    """Tell whether the first two cells name label and bag."""
    first, second = (cell.strip().strip('"').lower() for cell in cells[:2])
    return first in LABEL or second in BAG


def _number(cell: str) -> float | None:
    """Read a number; None where it is none."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return None if "_" in cell else number  # which Python takes between digits


def _is_number(cell: str) -> bool:
    return _number(cell) is not None
