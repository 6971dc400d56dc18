"""Columns of the table beside the image (`data.covariates`): numbers or categories, read as the table has them.

What training learns of them is settled by its split alone (`medtrain.core.covariates`); here is what the rows say, and
what no column beside an image may be: a name of the cases, or the label itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.covariates import Covariate, Kind
from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.words import first_few, nearest
from medtrain.data.fingerprint import row_texts
from medtrain.data.rows.covariate_cells import Cells, Columns, read_cells, read_numbers, saying_nothing
from medtrain.data.rows.manifest import Manifest
from medtrain.io.cells import cleaned, is_silent, is_unknown, one_spelling
from medtrain.io.table import Listing
from medtrain.target.numbers import parsed
from medtrain.target.quantity import FEWEST_NAMES
from medtrain.target.spelling import refuse_two_ways

KINDS: tuple[Kind, ...] = ("number", "category")
NUMBERS = 0.9  # of the known cells: a column with so many numbers is one of numbers with faults, not of categories
FEWEST = 10  # known cases from which on a column that agrees with the label is no chance
RUNNING = 20  # different whole numbers, a case each, from which on they may be names
DIGITS = 5  # of whole numbers, a case each, that may be names


def read_columns(manifest: Manifest, cfg: Mapping[str, Any]) -> Columns:
    """Read the columns of `data.covariates` for a training.

    Raises:
        UsageError: a key doesn't fit the table. DataError: a column names cases, or is the label.
    """
    wanted = [str(name) for name in cfg.get("covariates") or ()]
    kinds = {str(name): str(kind) for name, kind in dict(cfg.get("covariate_kinds") or {}).items()}
    _check_keys(manifest, wanted, kinds)
    columns: dict[str, NDArray[Any]] = {}
    chosen: dict[str, Kind] = {}
    bad: dict[int, Problem] = {}
    notices: list[Problem] = []
    for name in wanted:
        _refuse_roles(manifest, name)
        kind = chosen[name] = _kind(manifest, name, kinds.get(name))
        if kind == "number":
            columns[name] = read_numbers(cells_of(manifest, [name]), name, bad, notices)
        else:
            columns[name] = _categories(manifest, name, bool(cfg.get("merge_case")), notices)
        notices += saying_nothing(cells_of(manifest, [name]), name, kind) + _like_names(manifest, name, columns[name])
    rows = manifest.usable(manifest.bad)
    for name in wanted:
        notices += _like_label(manifest, name, columns[name][rows], rows)
    return Columns(chosen, columns, sorted(bad.items()), notices)


def read_known(manifest: Manifest, known: Sequence[Covariate], merge_case: bool, strict: bool) -> Columns:
    """Read the columns that a trained model has learned (see `read_cells`)."""
    table = () if isinstance(manifest.raw, Listing) else tuple(map(str, manifest.raw.text.columns))
    there = [column.name for column in known if column.name in table]
    return read_cells(known, cells_of(manifest, there), merge_case, strict)


def cells_of(manifest: Manifest, columns: Sequence[str]) -> Cells:
    """Take columns of a table as written."""
    raw = manifest.raw
    return Cells(raw.file.name, {name: raw.column(name) for name in columns}, manifest.where)


def in_words(known: Sequence[Covariate]) -> str:
    """Say in a line what training has learned of the columns."""
    parts = []
    for column in known:
        range_ = f"{column.low:g} to {column.high:g}" if column.kind == "number" else first_few(column.categories)
        missing = f", {column.missing:,} missing" if column.missing else ""
        parts.append(f"{column.name} ({column.kind}, {range_}{missing})")
    return f"beside the image: {', '.join(parts)}"


def constant(known: Sequence[Covariate]) -> list[Problem]:
    """Tell of columns that have one value in all of the training split."""
    detail = "one value in the whole training split: nothing can be learned from it; leave it out of data.covariates"
    return [Problem("constant_covariate", column.name, detail, "warning") for column in known if column.constant]


def _check_keys(manifest: Manifest, wanted: Sequence[str], kinds: Mapping[str, str]) -> None:
    if isinstance(manifest.raw, Listing):
        raise UsageError(f"data.covariates=[{','.join(wanted)}]: these data come without a table")
    table = [str(name) for name in manifest.raw.text.columns]
    faults = [
        f"data.covariates: {manifest.raw.file.name} has no column {name!r}{nearest(name, table)}"
        for name in wanted
        if name not in table
    ]
    faults += [f"data.covariates names {name!r} twice" for name, count in Counter(wanted).items() if count > 1]
    faults += [
        f"data.covariate_kinds: {name!r} is none of data.covariates{nearest(name, wanted)}"
        for name in kinds
        if name not in wanted
    ]
    faults += [
        f"data.covariate_kinds: {name} is {kind!r}, none of {', '.join(KINDS)}{nearest(kind, KINDS)}"
        for name, kind in kinds.items()
        if kind not in KINDS
    ]
    if faults:
        raise UsageError("\n".join([*faults, f"its columns: {', '.join(table[:30])}"]))


def _refuse_roles(manifest: Manifest, name: str) -> None:
    """Refuse the columns of names, splits and folds (UsageError)."""
    cells = manifest.raw.known_names(name)
    split = None if manifest.split is None else manifest.split.tolist()
    roles = {"patients": manifest.patient, "cases": manifest.case, "splits": split, "folds": manifest.fold}
    for what, column in roles.items():
        if column is not None and any(cells) and cells == list(column):
            raise UsageError(f"data.covariates: {name!r} is the column of {what}; it says nothing of a new case")


def _kind(manifest: Manifest, name: str, named: str | None) -> Kind:
    """Choose the kind by content, where data.covariate_kinds doesn't name it (UsageError: it is mixed)."""
    if named is not None:
        return "number" if named == "number" else "category"
    texts = [cleaned(text) for text in manifest.raw.column(name)]
    if all(map(is_silent, texts)):
        raise UsageError(f"data.covariates: all cells of {name!r} are blank; leave it out")
    known = sum(not is_unknown(text) for text in texts)
    odd = parsed(texts)[1]
    if not odd:
        return "number" if known else "category"  # "none" and blank cells alone
    if known - len(odd) < NUMBERS * known:
        return "category"
    raise UsageError(
        f"data.covariates: {name!r} has {known - len(odd):,} numbers and {len(odd):,} cells that are none, such as "
        f"{texts[odd[0]]!r} in {manifest.where[odd[0]]}: correct them, or say "
        f"data.covariate_kinds={{{name}: category}} ({{{name}: number}} makes these rows bad)"
    )


def _categories(manifest: Manifest, name: str, merge_case: bool, notices: list[Problem]) -> NDArray[Any]:
    """Read categories, those that differ by case or blanks alone joined or refused (UsageError)."""
    cells = manifest.raw.categories(name)
    counts = Counter(cell for cell in cells if cell)
    if not merge_case:
        refuse_two_ways(f"data.covariates: the categories in {name!r}", counts)
        return np.array(cells, dtype=object)
    to = one_spelling(counts)
    notices += [
        Problem("merged_case", name, f"{text!r} ({counts[text]:,}) is taken for {way!r}", "warning")
        for text, way in sorted(to.items())
    ]
    return np.array([to.get(cell, cell) for cell in cells], dtype=object)


def _like_names(manifest: Manifest, name: str, values: NDArray[Any]) -> list[Problem]:
    """Refuse categories that name cases or patients (DataError), and tell of numbers that may."""
    is_number = values.dtype.kind == "f"
    known = np.isfinite(values) if is_number else values != ""
    count, patients = int(known.sum()), len({manifest.patient[n] for n in np.flatnonzero(known).tolist()})
    different = len(set(values[known].tolist()))
    if not is_number:
        if different > FEWEST_NAMES and 2 * different > patients:
            raise DataError(
                f"data.covariates: {name!r} has {different:,} different values in {count:,} rows of {patients:,} "
                "patients, like names of them: a network would learn these by heart",
                advice=f"leave it out, or join values to fewer; of numbers say data.covariate_kinds={{{name}: number}}",
            )
        return []
    whole = values[known]
    running = len(whole) and whole.max() - whole.min() + 1 == different
    many = len(whole) and np.abs(whole).min() >= 10 ** (DIGITS - 1)
    if different != count or count < RUNNING or not (whole == np.round(whole)).all() or not (running or many):
        return []
    detail = f"{count:,} whole numbers, another in each row: do they name cases? Then leave it out of data.covariates"
    return [Problem("like_names", name, detail, "warning")]


def _like_label(manifest: Manifest, name: str, values: NDArray[Any], rows: NDArray[np.int64]) -> list[Problem]:
    """Refuse a column that is the label (DataError), and tell of one that decides it.

    Args:
        values: of the usable rows.
    """
    if manifest.target is None:
        return []
    known = np.isfinite(values) if values.dtype.kind == "f" else values != ""
    targets = np.asarray(manifest.targets[rows])[known]
    values = values[known]
    if len(values) < FEWEST:
        return []
    if values.dtype.kind == "f":
        for label_N in targets.reshape(len(targets), -1).astype(np.float64).T:
            if np.ptp(values) and np.nanstd(label_N) and abs(np.corrcoef(values, label_N)[0, 1]) > 1 - 1e-9:
                raise _is_label(name)
    labels = row_texts(targets)
    pairs, different = set(zip(values.tolist(), labels, strict=True)), len(set(values.tolist()))
    if len(set(labels)) < 2 or len(pairs) != different or 2 * different > len(values):
        return []
    if different == len(set(labels)):
        raise _is_label(name)
    detail = "each of its values has one label only in all rows: is it known before the label, or made of it?"
    return [Problem("decides_label", name, detail, "warning")]


def _is_label(name: str) -> DataError:
    return DataError(
        f"data.covariates: {name!r} says the same as the label in all rows: with it nothing would be learned of images",
        advice="leave it out of data.covariates",
    )
