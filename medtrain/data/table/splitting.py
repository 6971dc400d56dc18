"""The splits of a manifest: which of the ways of splitting the configuration asks for, and what leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.leakage import leaked, leaks
from medtrain.data.settings import choice
from medtrain.data.split import FOLD_COLUMN, SITE_COLUMN, SPLITS, Splits, assign_splits, join_groups
from medtrain.data.table.manifest import Manifest

Rows = NDArray[np.int64]


def split_manifest(
    manifest: Manifest, rows: Rows, content: Rows, cfg: Mapping[str, Any], strata_NC: NDArray[Any], all_test: bool
) -> pd.DataFrame:
    """Columns split and fold for the usable `rows` (positions) of a manifest.

    Args:
        content: the same number for rows with the same content.
        strata_NC: indicators of what each split should hold its share of.
        all_test: rows without an official split are test.

    Raises:
        UsageError: the keys of `cfg` don't go together, or not with the table.
        DataError: a split is empty, or rows lack their split, fold or site.
    """
    by_site = choice(cfg, "split_by", ("patient", "site")) == "site"
    official = None if manifest.split is None else manifest.split[rows]
    if all_test:
        split = np.full(len(rows), "test", "<U5") if official is None else np.where(official == "", "test", official)
        return _frame(Splits(split))
    if by_site and manifest.site is None:
        raise UsageError("data.split_by=site needs a site column: name it with data.columns.site")
    if by_site and official is not None:
        raise UsageError("data.split_by=site would override the table's own splits; set data.columns.split=none")
    folds, fold = (None if cfg.get(key) is None else int(cfg[key]) for key in ("folds", "fold"))
    parts, name = _parts(manifest, rows, by_site, fold)
    if official is not None:
        _refuse_blank(official, manifest, rows, "split")
    groups = join_groups(np.array(manifest.patient, dtype=object)[rows], content)
    return _frame(
        assign_splits(
            strata_NC,
            groups,
            official_N=official,
            parts_N=parts,
            parts_name=name,
            folds=folds,
            fold=fold,
            seed=int(cfg.get("split_seed") or 0),
        )
    )


def _parts(manifest: Manifest, rows: Rows, by_site: bool, fold: int | None) -> tuple[list[str] | None, str]:
    """The given parts that the configuration asks for: sites, or a fold column where a fold is chosen."""
    column, name = (
        (manifest.site, SITE_COLUMN) if by_site else (manifest.fold if fold is not None else None, FOLD_COLUMN)
    )
    if column is None:
        return None, name
    parts = [column[row] for row in rows]
    _refuse_blank(parts, manifest, rows, name.split()[0])
    return parts, name


def _refuse_blank(texts: Any, manifest: Manifest, rows: Rows, what: str) -> None:
    blank = [
        Problem(f"missing_{what}", manifest.where[row], f"the {what} is blank")
        for row, text in zip(rows, texts, strict=True)
        if not text
    ]
    if blank:
        other = "leave them out with data.filter" if what == "site" else f"set data.columns.{what}=none"
        raise DataError(f"{len(blank)} rows have no {what}:", blank, f"fill them in, or {other}")


def _frame(splits: Splits) -> pd.DataFrame:
    fold = [None] * len(splits.split) if splits.fold is None else splits.fold
    return pd.DataFrame({"split": splits.split.astype(object), "fold": pd.array(fold, "Int64")})


def known_splits(
    manifest: Manifest, rows: Rows, content: Rows, known: pd.DataFrame, lenient: bool
) -> tuple[Rows, Rows, pd.DataFrame]:
    """The splits a run has written, for the same cases: (rows, content, splits) of those it used.

    Args:
        lenient: the run may have left out rows (bad or leaking ones), so cases it doesn't list are left out too.

    Raises:
        DataError: the table has other cases than the run.
    """
    listed = known.set_index(known["case"].astype(str))
    here = set(manifest.case)
    gone = [case for case in listed.index if case not in here]
    new = [manifest.case[row] for row in rows if manifest.case[row] not in listed.index]
    moved = _resplit(manifest, rows, listed["split"])
    if gone or moved or (new and not lenient):
        first = [Problem("case_gone", case, "in the run's splits.csv, not in the table") for case in gone]
        first += [Problem("case_new", case, "in the table, not in the run's splits.csv") for case in new]
        raise DataError(
            f"the table has changed since the run: {len(gone)} cases are gone, {len(new)} are new"
            + f", {len(moved)} are in another split" * bool(moved)
            + ":",
            first + moved,
            "use the table of the run, or train anew",
        )
    used = np.array([manifest.case[row] in listed.index for row in rows], bool)
    mine = listed.loc[[manifest.case[row] for row in rows[used]]]
    fold = pd.to_numeric(mine["fold"], errors="coerce") if "fold" in mine else [None] * len(mine)
    frame = pd.DataFrame(
        {"split": mine["split"].astype(object).to_numpy(), "fold": pd.Series(list(fold), dtype="Int64")}
    )
    return rows[used], content[used], frame


def _resplit(manifest: Manifest, rows: Rows, split: pd.Series) -> list[Problem]:
    """List cases that the table puts in another split than the run; a val that it lacks is cut from its train."""
    if manifest.split is None:
        return []
    cut = not (manifest.split == "val").any()
    found = []
    for row in rows.tolist():
        official, case = str(manifest.split[row]), manifest.case[row]
        used = split.get(case, "")
        if official and used and official != used and not (cut and (official, used) == ("train", "val")):
            found.append(Problem("split_changed", case, f"in {official}, in the run in {used}"))
    return found


def drop_leaked(
    manifest: Manifest, rows: Rows, content: Rows, splits: pd.DataFrame, policy: str
) -> tuple[NDArray[np.bool_], list[Problem]]:
    """Which rows to drop, and the leaks found, as data.leakage (error, warn or drop) has it."""
    patient, split = np.array(manifest.patient, dtype=object)[rows], splits["split"].to_numpy(str)
    where = _Chosen(manifest.where, rows)
    found = leaks(patient, content, split, where, "error" if policy == "error" else "warning")
    if policy != "drop" or not found:
        return np.zeros(len(rows), bool), found
    out = leaked(patient, content, split)
    lost = [name for name in SPLITS if (split == name).any() and not (split[~out] == name).any()]
    if lost:
        raise DataError(f"data.leakage=drop leaves no cases for {' and '.join(lost)}: all of them leak:", found)
    return out, found


def excluded(manifest: Manifest, bad: list[tuple[int, Problem]], used: int, rest: str) -> dict[str, int]:
    """How many rows were left out for which reason, each row counted once, under its first problem.

    Args:
        used: how many were not.
        rest: why others than the bad ones were: they leak, or the run to which the splits belong has not listed them.
    """
    first = {row: problem.kind for row, problem in reversed(bad)}
    counts = {"filtered": manifest.filtered, **Counter(first.values()), rest: len(manifest) - len(first) - used}
    return {reason: n for reason, n in counts.items() if n}


class _Chosen(Sequence[str]):
    """The places of some rows, written out when they are asked for: of a million few are."""

    def __init__(self, where: Sequence[str], rows: Rows) -> None:
        self.where, self.rows = where, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: Any) -> Any:
        return self.where[int(self.rows[position])]
