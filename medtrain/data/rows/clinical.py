"""Labels in a table of patients, slides in one of their own: put together by patient, as STAMP's clini and slide
tables are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.rows.bags import named_column
from medtrain.data.rows.columns import USUAL
from medtrain.data.rows.people import perhaps_one
from medtrain.io.joined_table import Joined
from medtrain.io.table import RawTable, read_table

KEY = "data.columns.patient"


def read_rows(cfg: Mapping[str, Any], advice: str) -> tuple[RawTable, Mapping[str, Any], list[Problem]]:
    """Read data.table, put together with data.slide_table where there is one.

    Args:
        advice: what to give where data.table is not set.

    Returns:
        The rows, the data node with the column of patients, and what is to be told.

    Raises:
        UsageError: no table, no column of patients. DataError: what can't be put together.
    """
    if not cfg.get("table"):
        raise UsageError(f"data.table is not set: {advice}")
    raw = read_table(Path(str(cfg["table"])).expanduser())
    if not cfg.get("slide_table"):
        return raw, cfg, []
    slides = read_table(Path(str(cfg["slide_table"])).expanduser(), "data.slide_table")
    wanted = (cfg.get("columns") or {}).get("patient")
    columns = [_of_patients(table, wanted) for table in (slides, raw)]
    joined, warnings = join(slides, raw, columns)
    named = {**(cfg.get("columns") or {}), "patient": columns[0]}
    return joined, {**cfg, "columns": named, "root": cfg.get("root") or str(raw.file.parent)}, warnings


def _of_patients(table: RawTable, wanted: str | None) -> str:
    """Name a table's column of patients: the one that is wanted where the table has it, else a usual one."""
    there = wanted if wanted in table.text.columns else None
    return named_column(table, there, USUAL["patient"], KEY)


def join(slides: RawTable, patients: RawTable, columns: Sequence[str]) -> tuple[RawTable, list[Problem]]:
    """Give each slide what the table of patients says of its patient.

    Args:
        columns: of patients, in both tables.

    Returns:
        A row a slide whose patient is listed, and how many slides and patients were left out.

    Raises:
        DataError: a patient is listed twice, the tables contradict each other, or have no patient in common.
    """
    of_slides, listed = slides.known_names(columns[0]), patients.known_names(columns[1])
    rows = _row_of(patients, listed)
    pairs = [(n, rows[name]) for n, name in enumerate(of_slides) if name in rows]
    if not pairs:
        shown = (next((name for name in names if name), "none") for names in (of_slides, listed))
        raise DataError(
            "{} and {} have no patient in common: {!r} there, {!r} here".format(
                slides.file.name, patients.file.name, *shown
            )
        )
    _refuse_contradictions(slides, patients, pairs, set(columns))
    strangers = [n for n, name in enumerate(of_slides) if name not in rows]
    without = [name for name in rows if name not in set(of_slides)]
    like = {perhaps_one(name) for name in rows}
    nearly = len({of_slides[n] for n in strangers if perhaps_one(of_slides[n]) in like})
    alike = f"; {nearly:,} patients among them are listed with other capitals, blanks or zeros" if nearly else ""
    warnings = []
    if strangers:
        first = f"first {slides.places()[strangers[0]]}, patient {of_slides[strangers[0]] or 'blank'!r}"
        detail = (
            f"{len(strangers):,} slides are left out, as {patients.file.name} lists no such patient ({first}){alike}"
        )
        warnings.append(Problem("no_patient_of_slide", slides.file.name, detail, "warning"))
    if without:
        detail = (
            f"{len(without):,} patients have no slide in {slides.file.name} and are left out (first {without[0]!r})"
        )
        warnings.append(Problem("no_slide_of_patient", patients.file.name, detail, "warning"))
    return Joined.of(slides, patients, pairs), warnings


def _row_of(patients: RawTable, names: Sequence[str]) -> dict[str, int]:
    """Find the row of each patient; rows that say the same count once (DataError: they don't)."""
    rows: dict[str, list[int]] = defaultdict(list)
    for n, name in enumerate(names):
        if name:
            rows[name].append(n)
    places, problems = patients.places(), []
    for name, several in rows.items():
        if len(several) > 1 and len(patients.text.iloc[several].drop_duplicates()) > 1:
            others = ", ".join(str(places[n]).rpartition(" ")[2] for n in several[1:4])
            detail = f"patient {name!r} has other values in row {others}; a table of patients has one row each"
            problems.append(Problem("patient_again", places[several[0]], detail))
    if problems:
        raise DataError(f"{patients.file.name} lists {len(problems)} patients more than once:", problems)
    return {name: several[0] for name, several in rows.items()}


def _refuse_contradictions(
    slides: RawTable, patients: RawTable, pairs: Sequence[tuple[int, int]], keys: set[str]
) -> None:
    """Refuse columns that both tables have, and that say different things of a slide."""
    for column in map(str, slides.text.columns):
        if column in keys or column not in patients.text.columns:
            continue
        left, right = slides.known_names(column), patients.known_names(column)
        unlike = [n for n, m in pairs if left[n] != right[m]]
        if unlike:
            where = f"{len(unlike):,} rows, first in {slides.places()[unlike[0]]}"
            raise DataError(
                f"column {column!r} of {slides.file.name} and of {patients.file.name} differ in {where}",
                advice="rename or remove one of them",
            )
