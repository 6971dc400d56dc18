"""Cells of the columns beside the image as a trained model takes them, and what is told of those it has not learned.

An exported predict.py reads its tables by these very functions: they need neither pandas nor torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.covariates import Covariate, Kind
from medtrain.core.errors import Problem
from medtrain.core.words import first_few, nearest
from medtrain.io.cells import categories, cleaned, is_silent, is_unknown, names, one_spelling
from medtrain.target.numbers import decimal_commas, far_off, parsed


@dataclass(frozen=True)
class Cells:
    """What a table has of columns beside the image.

    Args:
        file: its name.
        texts: of each column that it has, as written, a row an entry.
        where: each row is, as messages have it.
    """

    file: str
    texts: Mapping[str, Sequence[str]]
    where: Sequence[str]


@dataclass(frozen=True)
class Columns:
    """Columns beside the image as the rows have them.

    Args:
        kinds: of each column, by its name, in the order of data.covariates.
        values: of each, a row an entry: float with NaN, or texts with '' where nothing is known.
        bad: positions and problems of cells that can't be used.
        notices: what is to be told.
        lacking: columns of a trained model that the table lacks: unknown in all rows.
    """

    kinds: Mapping[str, Kind] = field(default_factory=dict)
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    bad: Sequence[tuple[int, Problem]] = ()
    notices: Sequence[Problem] = ()
    lacking: Sequence[str] = ()

    def texts(self, rows: NDArray[np.int64]) -> list[str]:
        """Write what these rows have, a text a row, for digests."""
        parts = [[str(value) for value in values[rows].tolist()] for values in self.values.values()]
        return ["|".join(row) for row in zip(*parts, strict=True)]


def read_cells(known: Sequence[Covariate], cells: Cells, merge_case: bool, strict: bool) -> Columns:
    """Read the columns that a trained model has learned; those that the table lacks are unknown in all rows.

    Args:
        strict: a cell that is no number where one is wanted makes its row bad; else it counts as unknown, and is told.
    """
    columns: dict[str, NDArray[Any]] = {}
    bad: dict[int, Problem] = {}
    notices: list[Problem] = []
    lacking = [column.name for column in known if column.name not in cells.texts]
    for column in known:
        if column.name in lacking:
            empty: Any = [np.nan if column.kind == "number" else ""] * len(cells.where)
            columns[column.name] = np.array(empty, dtype=float if column.kind == "number" else object)
        elif column.kind == "number":
            columns[column.name] = read_numbers(cells, column.name, bad, notices)
        else:
            texts = categories(cells.texts[column.name])
            to = one_spelling(Counter(texts), column.categories) if merge_case else {}
            columns[column.name] = np.array([to.get(text, text) for text in texts], dtype=object)
        if column.name not in lacking:
            notices += saying_nothing(cells, column.name, column.kind)[:1]
    if lacking:
        detail = f"no column {', '.join(map(repr, lacking))}, which the model has learned: taken as missing in all rows"
        notices.append(Problem("no_covariate", cells.file, detail, "warning"))
    if bad and not strict:
        first = next(iter(bad.values()))
        detail = f"{first.detail}: {len(bad):,} such rows, taken as missing"
        notices.append(Problem("bad_covariate", first.where, detail, "warning"))
    chosen = {column.name: column.kind for column in known}
    return Columns(chosen, columns, sorted(bad.items()) if strict else (), notices, lacking)


def read_numbers(cells: Cells, name: str, bad: dict[int, Problem], notices: list[Problem]) -> NDArray[np.float64]:
    """Read a column of numbers, NaN where nothing is known; `bad` gets cells that are none, by row."""
    texts = [cleaned(text) for text in cells.texts[name]]
    notices += decimal_commas(cells.file, name, texts)
    values, odd = parsed(texts)
    for n in odd:
        bad.setdefault(n, Problem("bad_covariate", cells.where[n], f"{name} is {texts[n]!r}, no number"))
    known = values[np.isfinite(values)]
    if len(known):
        notices += far_off(cells.file, name, known)
    return np.asarray(values, np.float64)


def saying_nothing(cells: Cells, name: str, kind: Kind) -> list[Problem]:
    """Tell how many cells say that nothing is known, and how they do; and which may say so, but are categories."""
    silent = is_unknown if kind == "number" else is_silent
    unsure = Counter(text for text in names(cells.texts[name]) if is_unknown(text))
    forms, answers = (Counter({t: n for t, n in unsure.items() if silent(t) is yes}) for yes in (True, False))
    problems = []
    if forms:
        count = f"{forms.total():,} of {len(cells.where):,} rows say nothing: {_counted(forms)}"
        problems.append(Problem("missing_covariate", name, f"{count}; missing is a value of its own", "warning"))
    if answers:
        detail = f"{_counted(answers)} is a category of its own; leave such cells blank if nothing is known there"
        problems.append(Problem("answer_or_missing", name, detail, "warning"))
    return problems


def _counted(forms: Counter[str]) -> str:
    return first_few([f"{text!r} ({count:,})" if text else f"blank ({count:,})" for text, count in forms.most_common()])


def unlike_training(known: Sequence[Covariate], columns: Columns, rows: NDArray[np.int64], what: str) -> list[Problem]:
    """Tell of categories that training has not seen, and of numbers far outside its range.

    Args:
        rows: of the cases in question.
        what: they are, in words.
    """
    problems = []
    for column in known:
        values = columns.values[column.name][rows]
        if column.kind == "category":
            unseen = Counter(text for text in values.tolist() if text and text not in column.categories)
            if unseen:
                listed = first_few([f"{text!r} ({count:,})" for text, count in unseen.most_common()])
                like = nearest(next(iter(unseen)), column.categories)
                detail = (
                    f"{unseen.total():,} {what} have values that training has not seen: {listed}{like}; "
                    "taken as unknown"
                )
                problems.append(Problem("unseen_category", column.name, detail, "warning"))
        elif far := values[column.far(values)].tolist():
            listed = first_few([f"{value:g}" for value in sorted(set(far))])
            detail = f"{len(far):,} {what} lie far outside training's {column.low:g} to {column.high:g}: {listed}"
            problems.append(Problem("far_from_training", column.name, detail, "warning"))
    return problems


def coded(known: Sequence[Covariate], columns: Columns, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Code what these rows have (N, C), as batches carry it; None where there are no columns."""
    if not known:
        return None
    return np.stack([column.coded(columns.values[column.name][rows]) for column in known], 1).astype(np.float32)
