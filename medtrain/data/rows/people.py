"""Whose each row is: patients by a column, by a pattern in files' names, by DICOM headers, else every file its own."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medtrain.core.errors import Problem, UsageError
from medtrain.io.cells import folded, one_spelling, spellings
from medtrain.io.table import RawTable

Bad = list[tuple[int, Problem]]
_THOUSANDS = re.compile(r"\d{1,3}([,'’]\d{3})+(\.0+)?")
_ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+\d{1,2}")


def patients_of(
    raw: RawTable, column: str | None, cfg: Mapping[str, Any], written: list[str], where: Sequence[str]
) -> tuple[list[str], Bad, bool]:
    """Name the patient of each row, the problems by position, and tell whether anything names patients at all.

    Args:
        cfg: patient_pattern, which comes before the column; merge_case.
        written: the paths as they stand in the table.
    """
    if pattern := cfg.get("patient_pattern"):
        matched = [match_patient(str(pattern), name) for name in written]
        detail = f"data.patient_pattern={pattern!r} does not match"
        bad = [
            (n, Problem("missing_patient", where[n], f"{detail} {written[n]!r}"))
            for n, name in enumerate(matched)
            if not name
        ]
        return [name or written[n] for n, name in enumerate(matched)], bad, True
    if column is None:
        return written, [], False
    patient, cells = raw.known_names(column), raw.column(column)
    if cfg.get("merge_case"):
        to = one_spelling(Counter(patient))
        patient = [to.get(name, name) for name in patient]
    bad = [
        (n, Problem("missing_patient", where[n], f"the cell of {column!r} " + _nothing(cells[n])))
        for n, name in enumerate(patient)
        if not name
    ]
    return [name or written[n] for n, name in enumerate(patient)], bad, True


def _nothing(cell: str) -> str:
    return f"is {cell!r}: nothing is known" if cell else "is blank"


def match_patient(pattern: str, path: str) -> str | None:
    """Return what the first group (or all) of data.patient_pattern finds; None where it doesn't match.

    It is looked for in the file's name first, then in the whole path as written: CheXpert has patients as folders.
    """
    try:
        match = re.search(pattern, os.path.basename(path)) or re.search(pattern, path)
    except re.error as error:
        raise UsageError(f"data.patient_pattern={pattern!r} is no regular expression: {error}") from None
    if match is None:
        return None
    return match.group(1) if match.re.groups else match.group(0)


def perhaps_one(name: str) -> str:
    """Write a name without case, blanks, leading zeros, and the commas of thousands: who agree may be one, or two."""
    name = folded(name)
    name = re.sub(r"[,'’]", "", name) if _THOUSANDS.fullmatch(name) else name
    return re.sub(r"(?<!\d)0+(?=\d)", "", name)


def kept_together(patient_N: Sequence[str]) -> np.ndarray[Any, Any]:
    """Name patients for splitting: those who may be one (see `perhaps_one`) bear the first of their names."""
    to = {name: min(group) for group in spellings(Counter(patient_N), perhaps_one) for name in group}
    return np.array([to.get(name, name) for name in patient_N], dtype=object)


def told_rounded(names: Sequence[str], file: str) -> list[Problem]:
    """Tell patients such as 1.23457E+11: a spreadsheet has rounded long numbers, and different ones are alike now."""
    rounded = Counter(name for name in names if _ROUNDED.fullmatch(name))
    if not rounded:
        return []
    shown = ", ".join(f"{name!r} ({count:,} rows)" for name, count in rounded.most_common(3))
    detail = (
        f"{len(rounded):,} patients are numbers that a spreadsheet has rounded: {shown}{', ...' * (len(rounded) > 3)}; "
        "different patients may have become one: export the column as text"
    )
    return [Problem("rounded_patient", file, detail, "warning")]


def told_alike(
    names: Sequence[str], file: str, what: str, key: Callable[[str], str], consequence: str
) -> list[Problem]:
    """Tell names that may be one, by number and with examples; nothing where there are none."""
    groups = spellings(Counter(names), key)
    if not groups:
        return []
    shown = "; ".join(" and ".join(map(repr, sorted(group))) for group in sorted(groups)[:3])
    shown += "; ..." * (len(groups) > 3)
    detail = f"{len(groups):,} {what} may be written in several ways: {shown}: {consequence}"
    return [Problem("spelling", file, detail, "warning")]
