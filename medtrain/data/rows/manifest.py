"""The manifest: one row a case, from the CSV that people have, with all that is wrong in it listed by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.truth import Truth
from medtrain.data.rows.columns import MASK, SLIDE, TISSUE, find_columns, rivals, spare
from medtrain.data.rows.filter import matching
from medtrain.data.rows.header_patients import header_patients
from medtrain.data.rows.label_map import renamed, unlike_the_model
from medtrain.data.rows.paths import files_of, missing, table_root, without_path, written_paths
from medtrain.data.rows.people import patients_of, perhaps_one, told_alike, told_rounded
from medtrain.data.rows.slide_scale import ROLES, scales_of
from medtrain.data.settings import choice
from medtrain.data.split import official_names
from medtrain.io.cache_root import cache_root
from medtrain.io.cells import one_spelling
from medtrain.io.stats import absolute, stat_files
from medtrain.io.table import RawTable, read_table
from medtrain.target import DataSpec, Target
from medtrain.target.labels import POLICIES, Unsure, label_columns, label_roles, labels_of
from medtrain.target.spelling import refuse_two_ways

if TYPE_CHECKING:  # most rows name no pictures
    from medtrain.io.image_header import Header


@dataclass
class Manifest:
    """Cases by position, as a source gives them; all columns have one length N.

    Attributes:
        raw: the user's columns.
        case: what names a case in results: the case column, else the path as written.
        path: absolute.
        patient: without a column or pattern the pseudonym of a DICOM header's patient, else the case itself
            (`has_patients` is false then).
        split: official train, val, test or '', None without such a column; fold and site likewise.
        target, targets: what is predicted, and its values (see `read_labels`); None and empty without labels.
        truth: boxes of the cases, or their sizes where nobody knows boxes; None where labels are all there is.
        beside: the files of each further image that a row has, absolute.
        masks: files of masks, absolute, '' where the cell is blank; None without such a column.
        slides: files of slides of which rows are bags, absolute, '' where blank; None without such a column.
        tissue: files of slides' tissue masks, absolute, '' where blank; None without such a column.
        mpp: um/px of slides, None where the table has none; None without such a column.
        modality: ct or other, where the source says what volumes are; else ''.
        headers: what the files say of their pictures, where the source knows.
        content: what the rows are made of, where it doesn't lie in a file a row: pictures or bags by position.
        states: size and time of the files (see `stat_files`), so that they need not be looked at twice.
        bad: positions and problems of rows that cannot be used.
        faults: errors that belong to no row.
        warnings: what holds for the whole table.
        filtered: how many further rows data.filter has left out.
        spare: columns of the table that have no role; those of `data.covariates` are among them.
    """

    raw: RawTable
    where: Sequence[str]
    case: list[str]
    path: list[str]
    patient: list[str]
    has_patients: bool
    split: NDArray[np.str_] | None = None
    fold: list[str] | None = None
    site: list[str] | None = None
    target: Target | None = None
    targets: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    truth: Truth | None = None
    beside: list[list[str]] = field(default_factory=list)
    masks: list[str] | None = None
    slides: list[str] | None = None
    tissue: list[str] | None = None
    mpp: list[float | None] | None = None
    modality: str = ""
    headers: list[Header | None] | None = None
    content: Any = None
    states: NDArray[np.int64] | None = None
    bad: list[tuple[int, Problem]] = field(default_factory=list)
    faults: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    filtered: int = 0
    spare: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.case)

    def usable(self, bad: Iterable[tuple[int, Problem]]) -> NDArray[np.int64]:
        """Number the rows without any of these problems."""
        return np.setdiff1d(np.arange(len(self)), [row for row, _ in bad])


_OF_INPUTS = (
    "path",
    "patient",
    "case",
    MASK,
    SLIDE,
    TISSUE,
    *ROLES,
)  # the roles of columns that count where there are no labels


def read_manifest(cfg: Mapping[str, Any], spec: DataSpec | None = None, folders: bool = False) -> Manifest:
    """Read the table of `cfg` (the data node: table, root, columns, filter, classes, positive, patient_pattern).

    Args:
        folders: a path may name a folder, too.

    Raises:
        UsageError: the configuration doesn't fit the table.
        DataError: there is nothing to read in it. What is wrong with single rows is listed in `Manifest.bad`.
    """
    if not cfg.get("table"):
        raise UsageError("data.table is not set: give a CSV with a path and a label column")
    return manifest_of(read_table(Path(str(cfg["table"])).expanduser()), cfg, spec, folders)


def manifest_of(raw: RawTable, cfg: Mapping[str, Any], spec: DataSpec | None = None, folders: bool = False) -> Manifest:
    """Check the cases that `raw` lists, without labels where data.columns.label=none; errors as of `read_manifest`.

    Args:
        cfg: ``of_cases`` beside the keys of the data node: rows of one case are put together later.
    """
    raw, named = renamed(raw, cfg.get("columns") or {}, cfg.get("label_map"), cfg.get("classes"), spec)
    model = None if spec is None else spec.target
    roles = label_roles(cfg, model)
    columns = find_columns(raw, _for_spec(raw, named, spec), ("path", *roles))
    listed, raw = len(raw.text), _filtered(raw, cfg.get("filter"))
    manifest = identified(raw, columns, cfg, folders)
    manifest.filtered, manifest.spare = listed - len(raw.text), spare(raw, columns)
    manifest.warnings += rivals(raw, columns, named)
    if columns[roles[0]] is None:  # data.columns.label=none
        return manifest
    unsure = Unsure(*(choice(cfg, key, tuple(POLICIES)) for key in ("uncertain", "blank")))
    labels = labels_of(raw, {role: columns[role] for role in roles}, cfg, model, unsure)
    manifest.target, manifest.targets = labels.target, labels.values
    manifest.bad += labels.bad
    manifest.warnings += labels.notices
    if spec is not None:
        manifest.warnings += unlike_the_model(raw, labels, skip=choice(cfg, "on_bad", ("error", "skip")) == "skip")
    return sorted_out(manifest, of_cases=bool(cfg.get("of_cases")))


def identified(raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], folders: bool = False) -> Manifest:
    """Read case, path, patient, official split, fold and site of every row, without labels yet."""
    manifest = _identify(raw, columns, cfg, folders)
    _read_parts(manifest, raw, columns, cfg)
    return manifest


def sorted_out(manifest: Manifest, of_cases: bool = False) -> Manifest:
    """Sort problems by row, once labels are known: rows that come twice are bad too.

    Args:
        of_cases: several rows may be one case; what makes cases of them looks for those that come twice.
    """
    manifest.bad += [] if of_cases else repeated(manifest)
    manifest.bad.sort(key=lambda entry: entry[0])
    return manifest


def read_inputs(raw: RawTable, cfg: Mapping[str, Any], folders: bool = False) -> Manifest:
    """Read a table without labels: paths, relative to data.root or the table's folder, patients and cases if any."""
    named = {role: name for role, name in dict(cfg.get("columns") or {}).items() if role in _OF_INPUTS}
    columns = find_columns(raw, named, ("path",), lenient=True)
    return _identify(raw, columns, cfg, folders)


def _for_spec(raw: RawTable, named: dict[str, Any], spec: DataSpec | None) -> dict[str, Any]:
    """Name label columns for a trained multilabel model: those of its classes that the table has."""
    want = named.get("label")
    if spec is None or isinstance(want, str):
        return named
    there = [name for name in want or [] if name in raw.text.columns] or label_columns(
        list(raw.text.columns), named, None if spec is None else spec.target
    )
    return {**named, "label": there} if there else named


def _filtered(raw: RawTable, query: str | None) -> RawTable:
    if not len(raw.text):
        raise DataError(f"{raw.file} has a header but no rows")
    if not query:
        return raw
    keep = matching(raw, str(query))
    if not keep.any():
        raise DataError(f"data.filter={query!r} matches none of the {len(keep)} rows of {raw.file.name}")
    return raw.select(keep)


def _identify(raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], folders: bool) -> Manifest:
    """Read case, path, patient and further files of every row."""
    if not len(raw.text):
        raise DataError(f"{raw.file} has a header but no rows")
    where = raw.places()
    column, *others = [columns["path"]] if isinstance(columns["path"], str) else columns["path"]
    root = table_root(cfg, raw.file.parent)
    written, form = written_paths(raw.column(column), cfg, root)
    path, states = files_of(written, root)
    bad = without_path(written, where) + missing(written, path, states, where, folders)
    beside: list[list[str]] = []
    for name in others:
        beside.append(_files(raw, name, root))
        bad += missing(raw.column(name), beside[-1], stat_files(beside[-1]), where, folders)
        empty = f"the cell of {name!r} is blank"
        bad += [(n, Problem("missing", where[n], empty)) for n, file in enumerate(beside[-1]) if not file]
    masks = None
    if columns.get(MASK):
        masks = _files(raw, columns[MASK], root)
        bad += missing(raw.column(columns[MASK]), masks, stat_files(masks), where, folders)
    case = (
        [name or path for name, path in zip(raw.column(columns["case"]), written, strict=True)]
        if columns["case"]
        else written
    )
    of_cases = bool(cfg.get("of_cases"))
    unnamed = sum(not name for name in raw.column(columns["case"])) if of_cases and columns["case"] else 0
    patient, faults, has_patients = patients_of(raw, columns["patient"], cfg, written, where)
    if not has_patients:
        named, own = header_patients(path, cache_root(cfg.get("cache_dir")), states), case if of_cases else written
        patient = [pseudonym or name for pseudonym, name in zip(named, own, strict=True)]
        has_patients = all(named)
    manifest = Manifest(raw, where, case, path, patient, has_patients, bad=bad + faults, states=states)
    manifest.beside, manifest.masks = beside, masks
    manifest.mpp, faults = scales_of(raw, columns, where)
    manifest.bad += faults
    if columns.get(SLIDE):
        manifest.slides = _files(raw, columns[SLIDE], Path(str(cfg["slides"])) if cfg.get("slides") else root)
    if columns.get(TISSUE):
        folder = Path(str(cfg["tissue"])).expanduser() if cfg.get("tissue") else root
        manifest.tissue = _files(raw, columns[TISSUE], folder)
        cells = raw.column(columns[TISSUE])
        manifest.bad += missing(cells, manifest.tissue, stat_files(manifest.tissue), where, folders=False)
    if form:
        detail = f"names in {column!r} lack a suffix: files are taken to be called {form!r} (data.path_format)"
        manifest.warnings.append(Problem("path_format", raw.file.name, detail, "warning"))
    if unnamed:
        detail = (
            f"{unnamed:,} cells of {columns['case']!r} are blank (data.columns.case): each such row is its own case"
        )
        manifest.warnings.append(Problem("blank_case", raw.file.name, detail, "warning"))
    if columns["patient"] and not cfg.get("patient_pattern"):
        how = "they count as different, and stay in one split; write them alike (data.merge_case=true joins cases)"
        manifest.warnings += told_alike(patient, raw.file.name, "patients", perhaps_one, how)
        manifest.warnings += told_rounded(patient, raw.file.name)
    if not has_patients:
        manifest.warnings.append(
            Problem(
                "no_patient",
                raw.file.name,
                f"no patient column: each {'case' if of_cases else 'file'} counts as a patient of its own"
                + ", but for DICOM files whose header names one" * bool(set(patient) - {*written, *case})
                + " (data.columns.patient or data.patient_pattern names them)",
                "warning",
            )
        )
    return manifest


def _files(raw: RawTable, column: str, root: Path) -> list[str]:
    """Make the cells of a column absolute paths; blank ones stay."""
    cells = raw.column(column)
    return [path if cell else "" for cell, path in zip(cells, absolute(cells, root), strict=True)]


def _read_parts(manifest: Manifest, raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any]) -> None:
    if columns["split"]:
        cells = raw.known_names(columns["split"])
        manifest.split, faults = official_names(cells, manifest.where)
        manifest.bad += faults
        if not any(cells):
            manifest.split = None
    if columns["fold"]:
        manifest.fold = raw.known_names(columns["fold"])
    if columns["site"]:
        manifest.site = _sites(raw, columns["site"], cfg)


def _sites(raw: RawTable, column: str, cfg: Mapping[str, Any]) -> list[str]:
    """Name the site of each row; UsageError where sites that split the data differ by case or blanks alone."""
    sites = raw.known_names(column)
    if cfg.get("merge_case"):
        to = one_spelling(Counter(sites))
        return [to.get(name, name) for name in sites]
    if cfg.get("split_by") == "site":
        refuse_two_ways(f"the sites in {column!r}", Counter(sites))
    return sites


def repeated(manifest: Manifest) -> list[tuple[int, Problem]]:
    """Find rows that name a file or a case again: the later ones with one label, all of them with several."""
    bad = dict(repeated_files(manifest, manifest.path))
    for n, problem in _repeated(manifest, manifest.case, "case"):
        bad.setdefault(n, problem)
    return list(bad.items())


def repeated_files(manifest: Manifest, files: Sequence[str]) -> list[tuple[int, Problem]]:
    """Find rows that are made of the same files again, `files` of each; see `repeated`."""
    return _repeated(manifest, files, "file")


def _repeated(manifest: Manifest, names: Sequence[str], what: str) -> list[tuple[int, Problem]]:
    missing = {n for n, problem in manifest.bad if problem.kind == "missing"}
    groups: dict[str, list[int]] = {}
    for n in np.flatnonzero(pd.Series(list(names), dtype=object).duplicated(keep=False)).tolist():
        if n not in missing:
            groups.setdefault(names[n], []).append(n)
    return [entry for rows in groups.values() if len(rows) > 1 for entry in _again(manifest, rows, what)]


def _again(manifest: Manifest, rows: list[int], what: str) -> list[tuple[int, Problem]]:
    where, targets = manifest.where, manifest.targets
    named = f"{what} {manifest.case[rows[0]]!r}"
    unlike = [n for n in rows if not np.array_equal(targets[rows[0]], targets[n], equal_nan=True)]
    if what == "file" and unlike:
        others = dict.fromkeys(rows, where[unlike[0]]) | dict.fromkeys(unlike, where[rows[0]])
        return [
            (n, Problem("label_conflict", where[n], f"another label than {other} for the same {named}"))
            for n, other in others.items()
        ]
    advice = "; data.columns.case names the column whose rows are one case" * (what == "case")
    return [(n, Problem("duplicate_row", where[n], f"the same {named} as {where[rows[0]]}{advice}")) for n in rows[1:]]
