"""Cases that a table lists: from its rows to splits. All that can be wrong with it is found before training, at once.

What a case is made of (an image, a volume, a bag) is the business of a subclass, which says how the files behind the
rows are read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.data.base import Data
from medtrain.data.changes import label_digests
from medtrain.data.fingerprint import digest, row_texts
from medtrain.data.settings import choice
from medtrain.data.table.groups import group_columns
from medtrain.data.table.manifest import Manifest, read_manifest
from medtrain.data.table.splitting import drop_leaked, excluded, known_splits, split_manifest
from medtrain.target import DataSpec

Split = tuple[NDArray[np.int64], pd.DataFrame, list[Problem]]


@dataclass
class Files:
    """What reading the files behind the rows of a manifest has shown.

    Args:
        content: the position of the first row with the same content, for each row.
        identities: what each row is, by `medtrain.io.content`; '' where that is unknown.
        problems: {position: reason} of those that cannot be read.
        read: how many were read now, rather than found in a cache.
        warnings: what is worth telling of them.
    """

    content: NDArray[np.int64]
    identities: Sequence[str]
    problems: Mapping[int, str] = field(default_factory=dict)
    read: int = 0
    warnings: Sequence[Problem] = ()


class TableData(Data):
    """Rows of a table as cases, split by patient; see `Data` for arguments and attributes.

    Attributes:
        decoded: how many files were read now.
        slots: the position in the manifest of each row of `cases`.
        content: what each case is, by `medtrain.io.content`; '' where that is unknown.
        site: of each case, as the table has it; None where it has none.
    """

    slots: NDArray[np.int64]
    targets: NDArray[Any]
    content: list[str]
    site: list[str] | None
    decoded = 0

    def __init__(self, cfg: Mapping[str, Any], **options: Any) -> None:
        super().__init__(cfg, **options)
        self._folds: dict[str, str] = {}
        self._ready = False

    def manifest(self) -> Manifest:
        """The labelled rows; another source than a table says them in its own way."""
        return read_manifest(self.cfg, self.model_spec)

    @abstractmethod
    def describe(self, manifest: Manifest) -> DataSpec:
        """The spec of new data, before any file is read."""

    @abstractmethod
    def read(self, manifest: Manifest) -> Files:
        """Read the files behind the rows, or find them in a cache."""

    def settle(self) -> None:
        """What a source only knows once files are read and splits are made."""

    def prepare(self) -> None:
        """Manifest, splits, leakage, reading: once; the complete list of problems is raised at the end."""
        if self._ready:
            return
        skip = choice(self.cfg, "on_bad", ("error", "skip")) == "skip"
        manifest = self.listed()
        groups = group_columns(manifest, self.group_by)
        apart = np.arange(len(manifest))
        rows, splits, leaks = self._split(manifest, manifest.bad, skip, apart)
        files = self.read(manifest)
        self.decoded = files.read
        bad = manifest.bad + unreadable(manifest, files.problems)
        if len(bad) > len(manifest.bad) or (files.content != apart).any():
            rows, splits, leaks = self._split(manifest, bad, skip, files.content)
        self._judge(manifest, bad, leaks, skip)
        for kind in dict.fromkeys(warning.kind for warning in manifest.warnings):
            self._warn([warning for warning in manifest.warnings if warning.kind == kind], "")
        if files.warnings:
            self._warn(files.warnings, "")
        self._keep(manifest, rows, splits)
        self.content = [files.identities[row] for row in rows]
        self.site = None if manifest.site is None else [manifest.site[row] for row in rows]
        self.fingerprints["table"] = self.table_digest(self.cases["patient"].tolist())
        self.settle()
        self.groups = groups.iloc[rows].reset_index(drop=True)
        self.excluded = excluded(manifest, bad, len(rows), "leaking" if self.known is None else "unlisted")
        self._ready = True

    def listed(self) -> Manifest:
        """The labelled rows; `spec` is known from here on."""
        self.refuse_early()
        manifest = self.manifest()
        self.spec = self.model_spec or self.describe(manifest)
        return manifest

    def refuse_early(self) -> None:
        """Faults of the configuration that come before any reading."""

    def strata(self, manifest: Manifest, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(N, C) indicators by which splits are stratified."""
        return self.spec.target.indicators(manifest.targets[rows])

    def _split(
        self, manifest: Manifest, bad: list[tuple[int, Problem]], skip: bool, content_N: NDArray[np.int64]
    ) -> Split:
        """Usable rows with their split and fold, and leaks between splits; files of one content have one number."""
        usable = np.ones(len(manifest), bool)
        usable[[n for n, _ in bad]] = False
        rows = np.flatnonzero(usable)
        nothing: Split = rows[:0], pd.DataFrame({"split": [], "fold": []}), []
        if not len(rows):
            return nothing  # all rows are at fault, and listed
        content = content_N[rows]
        try:
            if self.known is not None:
                lenient = skip or self.cfg.get("leakage") == "drop"
                rows, content, splits = known_splits(manifest, rows, content, self.known, lenient)
            else:
                strata = self.strata(manifest, rows)
                splits = split_manifest(manifest, rows, content, self.cfg, strata, self.all_test)
        except DataError:
            if bad and not skip:
                return nothing  # the rows at fault are listed first
            raise
        policy = choice(self.cfg, "leakage", ("error", "warn", "drop"))
        leaky, leaks = drop_leaked(manifest, rows, content, splits, policy)
        self._folds = {}
        if splits["fold"].notna().any():  # before anything is dropped, which differs from fold to fold
            self._folds = {"folds": digest([manifest.case[row] for row in rows], splits["fold"].astype(str).tolist())}
        return rows[~leaky], splits[~leaky], leaks

    def _judge(self, manifest: Manifest, bad: list[tuple[int, Problem]], leaks: list[Problem], skip: bool) -> None:
        total, faults = len(manifest), manifest.faults
        errors = [] if skip else [problem for _, problem in bad] + faults
        errors += [leak for leak in leaks if leak.severity == "error"]
        if errors:
            counts = pd.Series([problem.kind for problem in errors]).value_counts()
            summary = f"{len(errors)} problems in the data ({', '.join(f'{n} {kind}' for kind, n in counts.items())}):"
            advice = "correct them, or leave bad rows out with data.on_bad=skip" if not skip and (bad or faults) else ""
            if any(leak.severity == "error" for leak in leaks):
                advice += ("\n" if advice else "") + "data.leakage=drop takes leaked rows out of train and val"
            raise DataError(summary, errors, advice)
        if bad:
            skipped = len({row for row, _ in bad})
            if skipped == total:
                raise DataError(f"none of the {total} rows can be used:", [problem for _, problem in bad])
            self._warn([problem for _, problem in bad], f"left out {skipped} of {total} rows (data.on_bad=skip):")
        if faults:
            self._warn(faults, f"left out {len(faults)} entries that belong to no row (data.on_bad=skip):")
        if leaks:
            self._warn(leaks, f"{len(leaks)} leaks between splits (data.leakage={self.cfg.get('leakage')}):")

    def _warn(self, problems: Sequence[Problem], heading: str) -> None:
        self.problems += [Problem(p.kind, p.where, p.detail, "warning") for p in problems]
        self.report(str(DataError(heading, problems)).strip())

    def _keep(self, manifest: Manifest, rows: NDArray[np.int64], splits: pd.DataFrame) -> None:
        self.slots = rows
        self.targets = manifest.targets[rows]
        self._raw = manifest.raw
        case, patient, path = (
            [column[row] for row in rows.tolist()] for column in (manifest.case, manifest.patient, manifest.path)
        )
        split, fold = splits["split"].to_numpy(), splits["fold"].astype("Int64").array
        self.cases = pd.DataFrame({"case": case, "patient": patient, "split": split, "fold": fold, "path": path})
        if manifest.site is not None and self.cfg.get("split_by") == "site" and not self.all_test:
            sites = dict(zip((manifest.site[row] for row in rows), fold, strict=True))
            site = manifest.site[rows[np.flatnonzero(split == "test")[0]]]
            self.held_out = {"site": site, "fold": int(sites[site]), "sites": len(sites)}
        self.fingerprints = {"split": digest(case, split.tolist())} | self._folds

    def table_digest(self, patients: Sequence[str]) -> str:
        return digest(self.cases["case"].tolist(), list(patients), row_texts(self.targets))

    def label_texts(self) -> list[str]:
        """The labels of each case as text; with what a subclass learns from beside them."""
        return row_texts(self.targets)

    def split_table(self) -> pd.DataFrame:
        fold = self.cases["fold"].astype("Int64").astype(str).replace("<NA>", "")
        table = self.cases[["case", "patient", "split"]].assign(fold=fold, content=self.content)
        table["labels"] = label_digests(self.label_texts())
        return table if self.site is None else table.assign(site=self.site)

    @property
    def table(self) -> pd.DataFrame:
        """The user's own columns, a row a case, indexed by the row numbers of the file."""
        return self._raw.typed.iloc[self.slots]


def unreadable(manifest: Manifest, problems: Mapping[int, str]) -> list[tuple[int, Problem]]:
    """The problems of `Files`, but for what the manifest says already."""
    listed = {n for n, problem in manifest.bad if problem.kind == "missing"}
    return [
        (n, Problem("unreadable", f"{manifest.where[n]} ({manifest.case[n]})", reason))
        for n, reason in sorted(problems.items())
        if n not in listed
    ]
