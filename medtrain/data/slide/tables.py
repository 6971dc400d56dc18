"""Tables of bags: the rows of a label table with the files that they mean, and CSV bags as such a table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.errors import Problem, UsageError
from medtrain.core.words import nearest
from medtrain.data.table.columns import IGNORED
from medtrain.data.table.manifest import Manifest, manifest_of
from medtrain.io.bags import find_bag
from medtrain.io.csv_bags import CsvBags
from medtrain.io.table import Listing, RawTable, read_table
from medtrain.target import DataSpec
from medtrain.target.labels import read_labels

USUAL = ("bag", "slide", "slide_id", "path", "file", "filename", "image")
FILE = "file of the bag"  # the column that is added
MASK = "mask"


def read_bag_table(cfg: Mapping[str, Any], spec: DataSpec | None) -> Manifest:
    """The labelled table of `cfg`; its slides' names may lack folder and ending (see `find_bag`).

    CLAM's tables are known by slide_id beside case_id, which names the patient.

    Raises: as `manifest_of`.
    """
    raw = read_table(Path(str(cfg["table"])).expanduser())
    return manifest_of(*with_files(raw, cfg), spec)


def with_files(raw: RawTable, cfg: Mapping[str, Any]) -> tuple[RawTable, dict[str, Any]]:
    """The table with a column of the bags' files, and the data node with the columns that follow from it."""
    columns = dict(cfg.get("columns") or {})
    name = named_column(raw, columns.get("path"), USUAL, "data.columns.path")
    root = Path(str(cfg["root"])).expanduser() if cfg.get("root") else raw.file.parent
    files = [str(find_bag(root, cell)) if cell else "" for cell in raw.column(name)]
    columns |= {"path": FILE, "case": columns.get("case") or name}
    lower = {str(column).lower(): str(column) for column in raw.text.columns}
    if "case_id" in lower and name != lower["case_id"] and not columns.get("patient") and "patient" not in lower:
        columns["patient"] = lower["case_id"]
    added = replace(raw, text=raw.text.assign(**{FILE: [os.path.abspath(file) if file else "" for file in files]}))
    return added, {**cfg, "columns": columns}


def named_column(raw: RawTable, wanted: str | None, usual: tuple[str, ...], key: str) -> str:
    """The column asked for, or the first of the usual names there is.

    Raises:
        UsageError: there is none.
    """
    columns = [str(column) for column in raw.text.columns]
    if wanted:
        if wanted not in columns:
            raise UsageError(f"{key}: {raw.file.name} has no column {wanted!r}{nearest(wanted, columns)}")
        return wanted
    lower = {column.lower(): column for column in reversed(columns)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None:
        told = f"{raw.file.name} has no column called {', '.join(usual[:4])} or the like"
        raise UsageError(f"{key}: {told}\nits columns: {', '.join(columns[:30])}")
    return found


def mask_files(manifest: Manifest, cfg: Mapping[str, Any]) -> list[str]:
    """The file of each bag's tumour mask, '' without one: of data.columns.mask, or the column ``mask``."""
    wanted = (cfg.get("columns") or {}).get(MASK)
    text = manifest.raw.text
    if isinstance(manifest.raw, Listing) or wanted == IGNORED or (not wanted and MASK not in text):
        return [""] * len(manifest)
    column = named_column(manifest.raw, wanted, (MASK,), "data.columns.mask")
    root = Path(str(cfg["root"])).expanduser() if cfg.get("root") else manifest.raw.file.parent
    return [str(root / cell) if cell else "" for cell in manifest.raw.column(column)]


def csv_manifest(bags: CsvBags, cfg: Mapping[str, Any], spec: DataSpec | None) -> Manifest:
    """The bags of one CSV as a table with a row each; a bag is its own patient."""
    where = [f"{bags.file.name} row {row}" for row in bags.first]
    raw = Listing.of(bags.file, {"bag": bags.names, "label": bags.labels}, where)
    labels = read_labels(raw, "label", cfg.get("classes"), cfg.get("positive"), None if spec is None else spec.target)
    alone = Problem("no_patient", bags.file.name, "a CSV of bags names no patients: each bag is its own", "warning")
    return Manifest(
        raw,
        where,
        bags.names,
        path=[str(bags.file)] * len(bags),
        patient=bags.names,
        has_patients=False,
        target=labels.target,
        targets=np.asarray(labels.values),
        bad=sorted(labels.bad + bags.conflicts, key=lambda entry: entry[0]),
        warnings=[alone],
    )
