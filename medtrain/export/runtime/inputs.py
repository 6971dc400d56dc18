"""The cases that predict.py is given: a file, a folder, or a CSV without labels, as `medtrain predict` lists them."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.rows.columns import USUAL
from medtrain.data.rows.passed_over import junk_folder, passed_by, told_barren, told_passed
from medtrain.data.rows.paths import files_of, written_paths
from medtrain.data.rows.people import match_patient
from medtrain.io.cells import apart, cleaned, names, one_spelling
from medtrain.io.dicom import read_patient_id
from medtrain.io.dicom_files import is_dicom_file
from medtrain.io.pseudonym import KEY, keyed
from medtrain.io.stats import absolute

OTHER_TABLES = (".xlsx", ".xls", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz")
TABLES = (".csv", ".tsv", ".txt")
SHOWN = 20  # bad cases on the terminal


@dataclass(frozen=True)
class Case:
    """One input.

    Args:
        name: what results call it.
        patient: who it is of; without any word of that the case itself.
        path: absolute.
        cells: of its row, by column; none where it stands in no table.
        where: the row is, as messages have it.
        beside: further files of the case, absolute.
    """

    name: str
    patient: str
    path: str
    cells: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    beside: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """List all its files."""
        return [self.path, *self.beside]


def list_cases(
    given: Path,
    facts: Mapping[str, Any],
    find: Callable[[Path], list[Path]],
    table: Callable[[Path, Mapping[str, Any]], list[Case]] | None = None,
) -> list[Case]:
    """List the cases of a file, a folder or a table.

    Args:
        facts: the node `rows` of model.json: how the run's tables name columns, paths and patients.
        find: the cases in a folder and below, sorted.
        table: the cases of a table; None for the usual way.

    Raises:
        UsageError: there are none, or the table has no column of paths.
    """
    if given.name.lower().endswith(OTHER_TABLES):
        raise UsageError(f"{given}: of tables, CSV in UTF-8 is read; save it as that")
    if given.is_file() and given.name.lower().endswith(TABLES):
        return (table or cases_of_table)(given, facts)
    files = [given] if given.is_file() else cases_below(given, find)
    if not files:
        raise UsageError(f"{given} holds nothing that can be read")
    beneath = [file.relative_to(given).as_posix() if file != given else given.absolute().name for file in files]
    called = [given.name] if given.is_file() else beneath
    paths = [str(file.absolute()) for file in files]
    pattern, named = facts["patient_pattern"], list(zip(called, paths, strict=True))
    patients = [match_patient(pattern, name) if pattern else header_patient(path) for name, path in named]
    return [Case(name, patient or name, path) for (name, path), patient in zip(named, patients, strict=True)]


def cases_below(folder: Path, find: Callable[[Path], list[Path]]) -> list[Path]:
    """List the cases in a folder, but for those in folders that systems leave behind; tell of what is none."""
    files = [file for file in find(folder) if not junk_folder(file.relative_to(folder))]
    if files:
        name = folder.absolute().name
        for problem in (*told_passed(passed_by(folder, files), name, "cases"), *told_barren(folder, files, "cases")):
            print(f"warning: {problem}", file=sys.stderr)
    return files


def header_patient(path: str) -> str | None:
    """Give the pseudonym of a DICOM header's patient, where MEDTRAIN_HASH_KEY holds the key; else None."""
    key = os.environ.get(KEY)
    identifier = read_patient_id(path) if key and is_dicom_file(path) else None
    return keyed(identifier, key.encode()) if key and identifier else None


def in_batches(cases: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut cases into lists of `size`; the last may be shorter."""
    rest = iter(cases)
    while batch := list(islice(rest, size)):
        yield batch


def cases_of_table(file: Path, facts: Mapping[str, Any]) -> list[Case]:
    """List the cases of a table whose paths are written out, or lack a suffix."""
    columns, rows, places = read_rows(file)
    path, *others = several_columns(columns, facts["columns"].get("path"))
    if path is None:
        raise UsageError(f"{file.name} has no column called {', '.join(USUAL['path'][:4])} or the like: {columns}")
    case, patient = (find_column(columns, facts["columns"].get(role), USUAL[role]) for role in ("case", "patient"))
    root = file.absolute().parent
    written, _ = written_paths([row[path] for row in rows], facts, root)
    paths, _ = files_of(written, root)
    called = [row[case] or name if case else name for row, name in zip(rows, written, strict=True)]
    pattern = facts["patient_pattern"]
    if pattern:
        patients = [match_patient(pattern, name) for name in written]
    elif patient:
        patients = patients_named([row[patient] for row in rows], facts)
    else:
        patients = [header_patient(name) for name in paths]
    whose = [given or name for given, name in zip(patients, written, strict=True)]
    cells = [[row[name] for row in rows] for name in others if name]
    beside = [[file if cell else "" for cell, file in zip(of, absolute(of, root), strict=True)] for of in cells]
    further = zip(*beside, strict=True) if beside else [()] * len(rows)
    return [Case(*row) for row in zip(called, whose, paths, rows, places, further, strict=True)]


def patients_named(cells: Sequence[str], facts: Mapping[str, Any]) -> list[str | None]:
    """Name patients by the cells of their column, as `medtrain.data.rows.people` does; None where nothing is known."""
    known = names(cells, unknown=False)
    to = one_spelling(Counter(known)) if facts.get("merge_case") else {}
    return [to.get(name, name) or None for name in known]


def read_rows(file: Path) -> tuple[list[str], list[dict[str, str]], list[str]]:
    """Read columns' names, rows and the place of each of a CSV (comma, semicolon or tab); blank rows are left out."""
    content = file.read_text(encoding="utf-8-sig").lstrip("\r\n")
    header = content.splitlines()[0] if content.strip() else ""
    lines = csv.reader(io.StringIO(content, newline=""), delimiter=max(",;\t", key=header.count))
    columns = apart([cleaned(name) for name in next(lines, [])])
    rows, places = [], []
    for number, line in enumerate(lines, start=2):
        cells = [cell.strip() for cell in line]
        if any(cells):
            rows.append(dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False)))
            places.append(f"{file.name} row {number}")
    return columns, rows, places


def several_columns(columns: Sequence[str], named: Any) -> list[str | None]:
    """Find the columns of a case's files: all that the run's configuration names, else one by `find_column`."""
    if isinstance(named, list) and len(named) > 1 and all(str(name) in columns for name in named):
        return [str(name) for name in named]
    return [find_column(columns, named, USUAL["path"])]


def find_column(columns: Sequence[str], named: Any, usual: Sequence[str]) -> str | None:
    """Find the column of a role: the one that the run's configuration names, else one of the usual names."""
    first = named if isinstance(named, str) else (list(named or []) or [None])[0]
    if isinstance(first, str) and first.lower() == "none":
        return None
    lower = {name.lower(): name for name in reversed(columns)}
    return first if first in columns else next((lower[name] for name in usual if name in lower), None)


def write_whole(output: Path, text: str) -> None:
    """Write a file whole, or not at all."""
    part = output.with_name(f".{output.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(output)


def tell(cases: Sequence[Case], errors: Mapping[int, str], output: Path) -> int:
    """Say what became of the cases; returns the exit code.

    Args:
        errors: why a case could not be read, by its number.
    """
    print(f"{len(cases) - len(errors):,} predicted, {len(errors):,} bad: {output}")
    for number, reason in list(errors.items())[:SHOWN]:
        print(f"  {cases[number].name}: {reason}", file=sys.stderr)
    return 1 if errors else 0
