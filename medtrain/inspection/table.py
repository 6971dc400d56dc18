"""A table of cases inspected, whatever a case is made of: rows, labels, splits, leaks, files of one content.

Training (`Data.prepare`) stops at what makes results wrong; here the same checks run, what they say is kept, and
the rest is looked at all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.data.base import Data
from medtrain.data.files import unreadable
from medtrain.data.leakage import leaks, straddling
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import choice
from medtrain.data.source import first_path
from medtrain.data.split import SPLITS
from medtrain.data.splitting import POLICIES, Splitting
from medtrain.inspection.columns import columns_beside
from medtrain.inspection.findings import CASES, Finding, Inspection, as_severity
from medtrain.inspection.twins import duplicates
from medtrain.target.order import WhichIsPositive

NO_FILE = ("missing", "unreadable", "duplicate_row")  # problems of rows without a file, or with one seen before
WHOLE = "all"  # the split of all rows where the data cannot be split
MOST_CLASSES = 5


@dataclass
class Looked:
    """What there is to say of a table and the files behind it.

    Attributes:
        content: the position of the first row with the same content, for each row.
        split: of every row, '' where it cannot be used.
        labels: (N, C) indicators, NaN where unknown.
        places: file and row of each case, and its name where that says more.
        seen: the rows that have a file of their own.
        findings: errors, warnings and notes.
        decoded: how many files were read now.
        columns: see `Inspection`.
    """

    manifest: Manifest
    content: NDArray[np.int64]
    split: NDArray[np.str_]
    labels: NDArray[np.float64]
    places: list[str]
    seen: NDArray[np.int64]
    findings: list[Finding]
    decoded: int
    columns: dict[str, Any]

    def outcome(self, data: Data, **more: Any) -> Inspection:
        """Make the inspection of it all, with what the files themselves have shown (see `Inspection`)."""
        manifest = self.manifest
        cases = pd.DataFrame(dict(zip(CASES, (manifest.case, manifest.patient, self.split), strict=True)))
        more |= {"truth": manifest.truth, "decoded": self.decoded, "columns": self.columns}
        return Inspection(self.findings, data.spec, cases, manifest.targets, **more)


def look(data: Data) -> Looked | Inspection:
    """Find all faults of the rows of `data`, which need not be fit to train; an Inspection where it ends with them.

    Raises:
        UsageError: the configuration does not fit the table, so that nothing can be said.
    """
    try:
        manifest, findings = _listed(data)
    except DataError as error:
        where = Path(first_path(data.cfg)).name
        problems = error.problems or [Problem("unusable", where, str(error))]
        return Inspection([Finding(problem) for problem in problems])
    files = data.opened(manifest, everything=True)
    bad = manifest.bad + unreadable(manifest, files.problems)
    severity = "warning" if data.cfg.get("on_bad") == "skip" else "error"
    findings += [Finding(as_severity(problem, severity), (row,)) for row, problem in bad]
    findings += [Finding(as_severity(problem, severity)) for problem in manifest.faults]
    findings += [Finding(problem) for problem in manifest.warnings]
    places = named_places(manifest)
    used = manifest.usable(bad)
    split, about_splits = _split(data, manifest, used, files.content)
    labels = np.full((len(manifest), len(data.spec.classes)), np.nan)
    labels[used] = data.spec.target.indicators(manifest.targets[used])
    findings += about_splits + _leaks(data, manifest, used, files.content, split, places)
    findings += _absent(data, labels, split)
    columns, about_columns = columns_beside(data, split, labels)
    findings += about_columns
    findings += duplicates(used, files.content[used], split[used], data.strata(manifest, used), places)
    seen = np.setdiff1d(np.arange(len(manifest)), [row for row, problem in bad if problem.kind in NO_FILE])
    return Looked(manifest, files.content, split, labels, places, seen, findings, files.read, columns)


def _listed(data: Data) -> tuple[Manifest, list[Finding]]:
    """The manifest; where only the positive class is not named, it is guessed and said so."""
    try:
        return data.listed(), []
    except WhichIsPositive as error:
        guess = f"{error}; here {error.names[1]!r} is taken"
        return data.listed(classes=error.names), [Finding(Problem("no_positive", "data.positive", guess, "warning"))]


def named_places(manifest: Manifest) -> list[str]:
    """Give file and row of each entry of a manifest, and the name of its case where that says more."""
    named = zip(manifest.where, manifest.case, strict=True)
    return [where if case in where else f"{where} ({case})" for where, case in named]


def _split(
    data: Data, manifest: Manifest, used: NDArray[np.int64], content: NDArray[np.int64]
) -> tuple[NDArray[np.str_], list[Finding]]:
    """The split of every row, '' where it cannot be used, and why the data cannot be split, if so."""
    split = np.full(len(manifest), "", "<U5")
    if not len(used):
        return split, []
    try:
        frame = Splitting(data.cfg).deal_anew(manifest, used, content[used], data.strata(manifest, used))
    except DataError as error:
        split[used] = WHOLE if manifest.split is None else manifest.split[used]
        problems = error.problems or [Problem("no_split", "the splits", str(error))]
        return split, [Finding(problem) for problem in problems]
    split[used] = frame["split"].to_numpy(str)
    return split, []


def _leaks(
    data: Data,
    manifest: Manifest,
    used: NDArray[np.int64],
    content: NDArray[np.int64],
    split: NDArray[np.str_],
    places: list[str],
) -> list[Finding]:
    policy = choice(data.cfg, "leakage", POLICIES)
    parted = used[np.isin(split[used], SPLITS)]
    patient = np.array(manifest.patient, dtype=object)[parted]
    where, severity = [places[row] for row in parted], "error" if policy == "error" else "warning"
    problems = leaks(patient, content[parted], split[parted], where, severity)
    groups = straddling(patient, split[parted]) + straddling(content[parted], split[parted])
    return [Finding(problem, tuple(parted[g].tolist())) for problem, g in zip(problems, groups, strict=True)]


def _absent(data: Data, labels: NDArray[np.float64], split: NDArray[np.str_]) -> list[Finding]:
    """Splits that lack a class: it can't be learned, or nothing can be said of it."""
    findings = []
    for name in dict.fromkeys(split[split != ""].tolist()):
        lacking = [c for c, n in zip(data.spec.classes, (labels[split == name] == 1).sum(0), strict=True) if not n]
        if lacking:
            shown = ", ".join(lacking[:MOST_CLASSES]) + ", ..." * (len(lacking) > MOST_CLASSES)
            findings.append(Finding(Problem("absent_class", name, f"no image has {shown}", "warning")))
    return findings
