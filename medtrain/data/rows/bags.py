"""Tables of bags: the rows of a label table with the files that they mean, and CSV bags as such a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.words import nearest
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.paths import table_root
from medtrain.io.bags import find_bag
from medtrain.io.csv_bags import CsvBags, is_csv_bags
from medtrain.io.dicom_slide import ENDINGS, slide_file, slides_in
from medtrain.io.stats import absolute
from medtrain.io.table import Listing, RawTable

BAG_NAMES = ("bag", "slide", "slide_id", "path", "file", "filename", "image")
SLIDE_NAMES = ("slide", "slide_path", "path", "file", "filename", "slide_id", "image")
FILE = "file of the bag or slide"  # the column that is added


def holds_features(table: Path, cfg: Mapping[str, Any]) -> bool:
    """Tell whether a table holds the features of bags itself. One of `label,slide,age` looks alike: it doesn't where
    its second column names files of bags."""
    if not is_csv_bags(table):
        return False
    with open(table, encoding="utf-8-sig", errors="replace") as file:
        names = [cells[1].strip().strip('"') for _ in range(2) if len(cells := file.readline().split(",")) > 1]
    return not any(find_bag(table_root(cfg, table.parent), name).is_file() for name in names if name)


def with_files(raw: RawTable, cfg: Mapping[str, Any]) -> tuple[RawTable, dict[str, Any]]:
    """Give a table a column of the bags' files, and the data node the columns that follow from it.

    Slides' names may lack folder and ending (see `find_bag`). CLAM's tables are known by slide_id beside case_id, which
    names the patient.
    """
    columns = dict(cfg.get("columns") or {})
    name = named_column(raw, columns.get("path"), BAG_NAMES, "data.columns.path")
    root = table_root(cfg, raw.file.parent)
    files = [str(find_bag(root, cell)) if cell else "" for cell in raw.column(name)]
    columns |= {"path": FILE, "case": columns.get("case") or name}
    if "slide" in columns and not columns["slide"] and name.lower() != "slide":
        columns["slide"] = next((str(other) for other in raw.text.columns if str(other).lower() == "slide"), None)
    lower = {str(column).lower(): str(column) for column in raw.text.columns}
    if "case_id" in lower and name != lower["case_id"] and not columns.get("patient") and "patient" not in lower:
        columns["patient"] = lower["case_id"]
    added = replace(raw, text=raw.text.assign(**{FILE: [os.path.abspath(file) if file else "" for file in files]}))
    return added, {**cfg, "columns": columns}


def named_column(raw: RawTable, wanted: str | None, usual: tuple[str, ...], key: str) -> str:
    """Name the column that is wanted, or the first of the usual names there is.

    Raises:
        UsageError: there is none.
    """
    columns = [str(column) for column in raw.text.columns]
    if wanted:
        if wanted not in columns:
            raise UsageError(f"{key}: {raw.file.name} has no column {wanted!r}{nearest(wanted, columns)}")
        return wanted
    lower = {column.lower(): column for column in reversed(columns)}
    column = next((lower[name] for name in usual if name in lower), None)
    if column is None:
        none = f"{raw.file.name} has no column called {', '.join(usual[:4])} or the like"
        raise UsageError(f"{key}: {none}\nits columns: {', '.join(columns[:30])}")
    return column


def with_slides(raw: RawTable, cfg: Mapping[str, Any]) -> tuple[RawTable, dict[str, Any]]:
    """Give a table of slides, and the data node with its column of slides."""
    columns = dict(cfg.get("columns") or {})
    columns["path"] = named_column(raw, columns.get("path"), SLIDE_NAMES, "data.columns.path")
    return of_several_files(raw, {**cfg, "columns": columns})


def of_several_files(raw: RawTable, cfg: Mapping[str, Any]) -> tuple[RawTable, dict[str, Any]]:
    """Name each slide of several DICOM files by the one that stands for it, be a part of it named or its folder.

    Raises:
        DataError: folders hold no slide, or several.
    """
    columns = dict(cfg["columns"])
    name, root = columns["path"], table_root(cfg, raw.file.parent)
    cells = raw.column(name)
    files, problems, known = list(cells), [], cache(slides_in)
    for n, path in enumerate(absolute(cells, root)):
        if cells[n] and (path.lower().endswith(ENDINGS) or os.path.isdir(path)):
            try:
                files[n] = str(slide_file(Path(path), known))
            except ValueError as error:
                problems.append(Problem("bad_slide", raw.where(int(raw.text.index[n])), f"{cells[n]}: {error}"))
    if problems:
        raise DataError(f"{len(problems)} folders in {raw.file.name} are not one slide:", problems)
    if files != cells:
        columns |= {"path": FILE, "case": columns.get("case") or name}
        raw = replace(raw, text=raw.text.assign(**{FILE: files}))
    return raw, {**cfg, "columns": columns}


def csv_rows(bags: CsvBags) -> Manifest:
    """List the bags of one CSV, a row each, without their labels; a bag is its own patient."""
    where = [f"{bags.file.name} row {row}" for row in bags.first]
    raw = Listing.of(bags.file, {"bag": bags.names, "label": bags.labels}, where)
    path = [str(bags.file)] * len(bags)
    return Manifest(raw, where, bags.names, path, bags.names, has_patients=False, content=bags)
