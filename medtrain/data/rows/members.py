"""Cases of several rows: slides put together by patient, images by what the table calls a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import Problem, UsageError
from medtrain.data.rows.manifest import Manifest, repeated_files
from medtrain.data.settings import case_column
from medtrain.io.table import Listing, RawTable
from medtrain.target.numbers import parsed

Members = list[list[int]]  # of each case, positions in the manifest of rows
OF_A_ROW = ("missing", "duplicate_row")  # problems that cost a case this row alone
APART = {"patient": "; data.unit=slide keeps them apart", "case": "; data.columns.case=none keeps them apart"}


def together(rows: Manifest, what: str, beside: Sequence[str] = (), skip: bool = False) -> tuple[Manifest, Members]:
    """Make a manifest of patients or cases, in the order of their first rows, and list the rows of each.

    Those whose rows differ in label, split, fold, site, patient or a column beside them are listed in `bad`.

    Args:
        what: ``patient`` or ``case``: whose rows belong together.
        beside: names of such columns (`data.covariates`, `eval.groups`).
        skip: a case goes without rows that have no file of their own, if it has others.

    Raises:
        UsageError: nothing says which rows of a labelled table are of one patient.
    """
    if what == "patient" and not rows.has_patients and rows.target is not None:
        raise UsageError("data.unit=patient needs to know patients: data.columns.patient or data.patient_pattern")
    names = rows.patient if what == "patient" else rows.case
    number, _ = pd.factorize(np.array(names, dtype=object))
    members: Members = [[] for _ in range(int(number.max(initial=-1)) + 1)]
    for row, case in enumerate(number.tolist()):
        members[case].append(row)
    listed = rows.bad + (_twice(rows, members) if what == "case" else [])
    lost = {row: problem for row, problem in listed if problem.kind in OF_A_ROW}
    broken = {row: problem for row, problem in listed if problem.kind not in OF_A_ROW}
    columns = _columns(rows, what, beside)
    bad = [(n, problem) for n, of in enumerate(members) for problem in _conflicts(rows, of, columns, what, broken)]
    bad += [(n, broken[row]) for n, of in enumerate(members) for row in of if row in broken]
    where = [_places([rows.where[row] for row in of]) for of in members]
    lacking = []
    for n, of in enumerate(members):
        left = [row for row in of if row not in lost]
        if skip and left:
            lacking += [without(lost[row], names[row]) for row in of if row in lost]
            members[n] = left
        else:
            bad += [(n, lost[row]) for row in of if row in lost]
    cases = _cases(rows, names, members, where)
    cases.bad, cases.warnings = bad, [*rows.warnings, *lacking]
    if what == "case":
        files = ["\n".join(sorted(rows.path[row] for row in of)) for of in members]
        cases.bad += repeated_files(cases, files)
        cases.warnings.append(_in_words(rows, members))
    cases.bad = sorted(cases.bad, key=lambda entry: entry[0])
    return cases, members


def without(problem: Problem, case: str) -> Problem:
    """Tell that a case goes on without one of its rows (data.on_bad=skip)."""
    return replace(problem, detail=f"{problem.detail}; case {case!r} goes on without it", severity="warning")


def apart(rows: Manifest, cfg: Mapping[str, Any]) -> list[Problem]:
    """Tell that inputs without the column of cases are a case each."""
    name, listing = case_column(cfg), isinstance(rows.raw, Listing)
    if not listing and name in rows.raw.text.columns:
        return []
    what = "files of a folder" if listing else f"rows of a table without a column {name!r}"
    detail = (
        f"{what} are a case each; a table with the column {name!r} (data.columns.case) puts images of a case together"
    )
    return [Problem("apart", rows.raw.file.name, detail, "warning")]


def _cases(rows: Manifest, names: Sequence[str], members: Members, where: list[str]) -> Manifest:
    """Take of each case what its first row says."""
    first = np.array([of[0] for of in members], np.int64)

    def of_first(column: Any) -> Any:
        return None if column is None else [column[n] for n in first]

    return replace(
        rows,
        raw=replace(rows.raw, text=rows.raw.text.iloc[first]),
        where=where,
        case=of_first(names),
        patient=of_first(rows.patient),
        path=of_first(rows.path),
        split=None if rows.split is None else rows.split[first],
        fold=of_first(rows.fold),
        site=of_first(rows.site),
        targets=rows.targets[first] if rows.target is not None else rows.targets,
        beside=[of_first(column) for column in rows.beside],
        masks=None,
        slides=None,
        tissue=None,
        mpp=None,
        headers=None,
        states=None,
    )


def _columns(rows: Manifest, what: str, beside: Sequence[str]) -> dict[str, Any]:
    """Take the columns in which the rows of a case must agree, by their names."""
    columns: dict[str, Any] = {} if rows.target is None else {"label": rows.targets}
    columns |= {"split": rows.split, "fold": rows.fold, "site": rows.site}
    if what == "case":
        unknown = [
            not rows.has_patients and patient == case for patient, case in zip(rows.patient, rows.case, strict=True)
        ]
        columns["patient"] = [None if blank else name for name, blank in zip(rows.patient, unknown, strict=True)]
    there = [name for name in beside if name in rows.raw.text.columns]
    return columns | {name: _comparable(rows.raw, name) for name in there}


def _comparable(raw: RawTable, name: str) -> list[str]:
    """Take the cells of a column beside the rows: among numbers all words for a missing one are one."""
    return raw.categories(name) if parsed(raw.known_names(name))[1] else raw.known_names(name)


def _conflicts(
    rows: Manifest, of: list[int], columns: Mapping[str, Any], what: str, broken: Mapping[int, Problem]
) -> list[Problem]:
    """Find in what the rows of a case differ that must be the same; those that can't be used anyway say nothing."""
    problems = []
    for name, column in columns.items():
        known = [row for row in of if column is not None and row not in broken and column[row] is not None]
        for row in known[1:]:
            if np.array_equal(column[row], column[known[0]], equal_nan=name == "label"):
                continue
            case = (rows.patient if what == "patient" else rows.case)[row]
            detail = f"another {name} than {rows.where[known[0]]} for the same {what} {case!r}"
            detail += APART[what] * (name in ("label", "patient"))
            problems.append(Problem(f"{name}_conflict", rows.where[row], detail))
    return problems


def _twice(rows: Manifest, members: Members) -> list[tuple[int, Problem]]:
    """Find rows that name a file of their case again."""
    missing = {row for row, problem in rows.bad if problem.kind == "missing"}
    bad = []
    for row, before in again([[row for row in of if row not in missing] for of in members], rows.path):
        detail = f"the same file as {rows.where[before]}, in the same case {rows.case[row]!r}"
        bad.append((row, Problem("duplicate_row", rows.where[row], detail)))
    return bad


def again(members: Members, keys: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Yield the rows whose key an earlier row of their case has, with the first such row."""
    for of in members:
        first: dict[Hashable, int] = {}
        for row in of:
            before = first.setdefault(keys[row], row)
            if before != row:
                yield row, before


def _in_words(rows: Manifest, members: Members) -> Problem:
    """Tell how many rows make how many cases."""
    sizes = sorted(Counter(map(len, members)).items())
    shown = ", ".join(f"{count:,} of {size}" for size, count in sizes[:8]) + ", ..." * (len(sizes) > 8)
    detail = f"{sum(map(len, members)):,} rows are {len(members):,} cases (data.columns.case): {shown}"
    return Problem("together", rows.raw.file.name, detail, "warning")


def _places(places: list[str]) -> str:
    """Write ``table.csv row 2, row 5`` of the places of several rows."""
    file = places[0].rpartition(" row ")[0]
    return ", ".join([places[0], *(place.removeprefix(f"{file} ") for place in places[1:])])
