"""The splits of a manifest: which of the ways of splitting the configuration asks for, and what leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.fingerprint import digest
from medtrain.data.leakage import alike_leaks, leaked, leaks, twins
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.people import kept_together
from medtrain.data.settings import choice, skips
from medtrain.data.split import FOLD_COLUMN, SITE_COLUMN, SPLITS, Splits, Way, assign_splits, join_groups

Rows = NDArray[np.int64]
POLICIES = ("error", "warn", "drop")  # of data.leakage


@dataclass(frozen=True)
class Dealt:
    """Who is in which split.

    Args:
        rows: positions in the manifest of the rows that are used.
        splits: columns split and fold, a row each.
        leaks: between splits, as data.leakage has it.
        fingerprints: of cases and splits (``split``), of cases and folds where there are any (``folds``).
    """

    rows: Rows
    splits: pd.DataFrame
    leaks: list[Problem]
    fingerprints: dict[str, str]


@dataclass(frozen=True)
class Splitting:
    """How the rows of a manifest are split.

    Args:
        cfg: the data node.
        known: case and split as a run has written them; nothing is split anew then.
        all_test: rows without an official split are test.
    """

    cfg: Mapping[str, Any]
    known: pd.DataFrame | None = None
    all_test: bool = False

    def check(self, manifest: Manifest) -> None:
        """Refuse what is wrong with the splits, as far as it shows before any file is read.

        Raises:
            UsageError: the keys of `cfg` don't go together, or not with the table.
            DataError: rows lack their split, fold or site, or are others than the run's.
        """
        rows, skip = manifest.usable(manifest.bad), skips(self.cfg)
        choice(self.cfg, "leakage", POLICIES)
        try:
            if self.known is not None:
                refuse_other_cases(manifest, rows, self.known, self._lenient)
            elif not self.all_test and len(rows):
                way_of(manifest, rows, self.cfg).check()
        except DataError:
            if not manifest.bad or skip:
                raise  # else the rows at fault are listed first

    def deal(
        self,
        manifest: Manifest,
        bad: Sequence[tuple[int, Problem]],
        content_N: Rows,
        strata: Callable[[Manifest, Rows], NDArray[Any]],
    ) -> Dealt:
        """Split the usable rows of a manifest whose files have been read.

        Args:
            bad: problems by row.
            content_N: the same number for rows with the same content.
            strata: gives indicators (N, C) of what each split should hold its share of.

        Raises:
            UsageError, DataError: as of `check`, or a split is empty.
        """
        rows, policy = manifest.usable(bad), choice(self.cfg, "leakage", POLICIES)
        nothing = Dealt(rows[:0], pd.DataFrame({"split": [], "fold": []}), [], {})
        if not len(rows):
            return nothing  # all rows are at fault, and listed
        try:
            if self.known is not None:
                rows, splits = known_splits(manifest, rows, self.known, self._lenient)
            else:
                splits = self.deal_anew(manifest, rows, content_N[rows], strata(manifest, rows))
            leaky, leaks = drop_leaked(manifest, rows, content_N[rows], splits, policy)
        except DataError:
            if bad and not skips(self.cfg):
                return nothing  # the rows at fault are listed first
            raise
        cases, fingerprints = np.array([manifest.case[row] for row in rows], dtype=object), {}
        if splits["fold"].notna().any():  # before anything is dropped, which differs from fold to fold
            fingerprints["folds"] = digest(cases.tolist(), splits["fold"].astype(str).tolist())
        rows, splits = rows[~leaky], splits[~leaky]
        fingerprints["split"] = digest(cases[~leaky].tolist(), splits["split"].tolist())
        return Dealt(rows, splits, leaks, fingerprints)

    def deal_anew(self, manifest: Manifest, rows: Rows, content: Rows, strata_NC: NDArray[Any]) -> pd.DataFrame:
        """Give columns split and fold for these rows; arguments and errors as of `deal`."""
        if self.all_test:
            official = np.full(len(rows), "", "<U5") if manifest.split is None else manifest.split[rows]
            return _frame(Splits(np.where(official == "", "test", official)))
        groups = join_groups(_together(manifest, rows), content)
        return _frame(assign_splits(strata_NC, groups, way_of(manifest, rows, self.cfg)))

    def held_out(self, cases: pd.DataFrame, site: Sequence[str] | None) -> dict[str, Any] | None:
        """Name the site that tests with data.split_by=site, its fold and the number of sites; else None.

        Args:
            cases: with split and fold.
            site: of each case.
        """
        if site is None or self.cfg.get("split_by") != "site" or self.all_test:
            return None
        sites = dict(zip(site, cases["fold"], strict=True))
        name = site[np.flatnonzero(cases["split"] == "test")[0]]
        return {"site": name, "fold": int(sites[name]), "sites": len(sites)}

    @property
    def _lenient(self) -> bool:
        """Tell whether the run may have left out rows."""
        return skips(self.cfg) or self.cfg.get("leakage") == "drop"


def way_of(manifest: Manifest, rows: Rows, cfg: Mapping[str, Any]) -> Way:
    """Choose the way of splitting that the configuration asks for, for these rows."""
    by_site = choice(cfg, "split_by", ("patient", "site")) == "site"
    official = None if manifest.split is None else manifest.split[rows]
    if by_site and manifest.site is None:
        raise UsageError("data.split_by=site needs a site column: name it with data.columns.site")
    if by_site and official is not None:
        raise UsageError("data.split_by=site would override the table's own splits; set data.columns.split=none")
    folds, fold, after = (None if cfg.get(key) is None else int(cfg[key]) for key in ("folds", "fold", "val_after"))
    parts, name = _parts(manifest, rows, by_site, fold)
    if official is not None:
        _refuse_blank(official, manifest, rows, "split")
    return Way(official, parts, name, folds, fold, int(cfg.get("split_seed") or 0), after)


def _parts(manifest: Manifest, rows: Rows, by_site: bool, fold: int | None) -> tuple[list[str] | None, str]:
    """Read the given parts that the configuration asks for: sites, or a fold column where a fold is chosen."""
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


def _together(manifest: Manifest, rows: Rows) -> NDArray[Any]:
    """Name the patients of rows, alike where they may be one."""
    patient = [manifest.patient[row] for row in rows]
    return kept_together(patient) if manifest.has_patients else np.array(patient, dtype=object)


def _frame(splits: Splits) -> pd.DataFrame:
    fold = [None] * len(splits.split) if splits.fold is None else splits.fold
    return pd.DataFrame({"split": splits.split.astype(object), "fold": pd.array(fold, "Int64")})


def refuse_other_cases(manifest: Manifest, rows: Rows, known: pd.DataFrame, lenient: bool) -> None:
    """Refuse a table with other cases than a run has written (DataError); `lenient` as of `known_splits`."""
    listed = _by_case(known)
    here = set(manifest.case)
    gone = [case for case in listed.index if case not in here]
    new = [manifest.case[row] for row in rows if manifest.case[row] not in listed.index]
    resplit = _resplit(manifest, rows, listed["split"])
    if gone or resplit or (new and not lenient):
        problems = [Problem("case_gone", case, "in the run's splits.csv, not in the table") for case in gone]
        problems += [Problem("case_new", case, "in the table, not in the run's splits.csv") for case in new]
        raise DataError(
            f"the table has changed since the run: {len(gone)} cases are gone, {len(new)} are new"
            + f", {len(resplit)} are in another split" * bool(resplit)
            + ":",
            problems + resplit,
            "use the table of the run, or train anew",
        )


def known_splits(manifest: Manifest, rows: Rows, known: pd.DataFrame, lenient: bool) -> tuple[Rows, pd.DataFrame]:
    """Find the splits that a run has written, for the same cases: (rows, splits) of those it used.

    Args:
        lenient: the run may have left out rows (bad or leaking ones), so cases it doesn't list are left out too.

    Raises:
        DataError: the table has other cases than the run.
    """
    refuse_other_cases(manifest, rows, known, lenient)
    listed = _by_case(known)
    used = rows[[manifest.case[row] in listed.index for row in rows]]
    own = listed.loc[[manifest.case[row] for row in used]]
    fold = pd.to_numeric(own["fold"], errors="coerce") if "fold" in own else [None] * len(own)
    split = own["split"].astype(object).to_numpy()
    return used, pd.DataFrame({"split": split, "fold": pd.Series(list(fold), dtype="Int64")})


def _by_case(known: pd.DataFrame) -> pd.DataFrame:
    return known.set_index(known["case"].astype(str))


def _resplit(manifest: Manifest, rows: Rows, split: pd.Series) -> list[Problem]:
    """List cases that the table puts in another split than the run; a val that it lacks is cut from its train."""
    if manifest.split is None:
        return []
    cut = not (manifest.split == "val").any()
    problems = []
    for row in rows.tolist():
        official, case = str(manifest.split[row]), manifest.case[row]
        used = split.get(case, "")
        if official and used and official != used and not (cut and (official, used) == ("train", "val")):
            problems.append(Problem("split_changed", case, f"in {official}, in the run in {used}"))
    return problems


def drop_leaked(
    manifest: Manifest, rows: Rows, content: Rows, splits: pd.DataFrame, policy: str
) -> tuple[NDArray[np.bool_], list[Problem]]:
    """Mark the rows to drop, and list the leaks, as data.leakage (error, warn or drop) has it."""
    patient, split = np.array(manifest.patient, dtype=object)[rows], splits["split"].to_numpy(str)
    where = _Chosen(manifest.where, rows)
    problems = leaks(patient, content, split, where, "error" if policy == "error" else "warning")
    problems += alike_leaks(_together(manifest, rows), patient, split, where)
    if policy != "drop" or not problems:
        return np.zeros(len(rows), bool), problems
    out = leaked(patient, content, split)
    lost = [name for name in SPLITS if (split == name).any() and not (split[~out] == name).any()]
    if lost:
        raise DataError(f"data.leakage=drop leaves no cases for {' and '.join(lost)}: all of them leak:", problems)
    return out, problems


def told_twins(
    manifest: Manifest, dealt: Dealt, content_N: Rows, strata: Callable[[Manifest, Rows], NDArray[Any]]
) -> list[Problem]:
    """Warn of equal contents within a split, and of equal contents with different labels; arguments as of `deal`."""
    rows = dealt.rows
    if not len(rows):
        return []
    split = dealt.splits["split"].to_numpy(str)
    problems = twins(content_N[rows], split, strata(manifest, rows), _Chosen(manifest.where, rows))
    return [replace(problem, severity="warning") for problem, _ in problems]


def excluded(manifest: Manifest, bad: list[tuple[int, Problem]], used: int, rest: str) -> dict[str, int]:
    """Count how many rows were left out for which reason, a row once, under its first problem.

    Args:
        used: how many were not.
        rest: why others than the bad ones were: they leak, or the run to which the splits belong has not listed them.
    """
    first = {row: problem.kind for row, problem in reversed(bad)}
    counts = {"filtered": manifest.filtered, **Counter(first.values()), rest: len(manifest) - len(first) - used}
    return {reason: n for reason, n in counts.items() if n}


class _Chosen(Sequence[str]):
    """Write out the places of some rows when they are needed: of a million few are."""

    def __init__(self, where: Sequence[str], rows: Rows) -> None:
        self.where, self.rows = where, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: Any) -> Any:
        return self.where[int(self.rows[position])]
