"""Counts of cases in each split and of each class, and the word for such a case."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from medtrain.report.folder import RunFolder
from medtrain.report.words import ABSENT, OUT_OF_FOLD, count

SPLITS = ("train", "val", "validation", "test")


class SplitCounts(NamedTuple):
    """A split: cases, patients (None where not known), and the positives in words."""

    name: str
    cases: int
    patients: int | None
    positives: str


def unit(run: RunFolder) -> str:
    """Name what the run's cases are, in the plural: images, volumes, slides; cases where the run doesn't say."""
    return str(run.run.get("unit") or (run.above and run.above.run.get("unit")) or "cases")


def counted(run: RunFolder, n: int) -> str:
    """Write a number of cases in the run's own word: 1 slide, 1,204 volumes."""
    return count(n, unit(run).removesuffix("s"))


def counts_by_split(run: RunFolder) -> list[SplitCounts]:
    """Count the splits as the run recorded them; else the tested one from its predictions."""
    seen = positives(run)
    if run.out_of_fold:
        sizes = int(run.test.get("n_cases") or 0), run.test.get("n_patients")
        return [SplitCounts(OUT_OF_FOLD, *sizes, _of_positive(run, seen))]
    tested = str(run.test.get("split") or "test")
    recorded = {
        split: _of_positive(run, {name: row["images"] for name, row in rows.items()})
        for split, rows in (run.run.get("imbalance") or {}).items()
    }
    splits = run.splits
    if splits is None or "split" not in splits:
        if not run.test:
            return []
        cases, patients = int(run.test.get("n_cases") or 0), run.test.get("n_patients")
        return [SplitCounts(tested, cases, patients, _of_positive(run, seen))]
    rows = []
    for name in sorted(splits["split"].dropna().unique(), key=_order):
        part = splits[splits["split"] == name]
        patients = int(part["patient"].nunique()) if "patient" in part else None
        cases = int(part["case"].nunique()) if "case" in part else len(part)
        of_positive = recorded.get(str(name)) or (_of_positive(run, seen) if name == tested else "")
        rows.append(SplitCounts(str(name), cases, patients, of_positive))
    return rows


def by_class(run: RunFolder) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Make header and rows (class, "images (patients)" in each split); no rows where one class is looked for."""
    recorded = run.run.get("imbalance") or {}
    if run.target.positive or not recorded:
        return [], []
    splits = sorted(recorded, key=_order)
    names = list(dict.fromkeys(name for rows in recorded.values() for name in rows))
    cells = [[_having(recorded[split].get(name)) for split in splits] for name in names]
    return [f"{unit(run).capitalize()} (patients) of", *splits], list(zip(names, cells, strict=True))


def positives(run: RunFolder) -> dict[str, int]:
    """Count the tested cases that have each class; of boxes the boxes to find, of masks those that mark it."""
    predictions = run.predictions()
    if predictions is None:
        masks = {name: int(row["with_mask"]) for name, row in (run.test.get("empty_masks") or {}).items()}
        labels = {name: int(row["positive"]) for name, row in (run.test.get("labels") or {}).items()}
        return labels | (run.test.get("known") or {}) | masks
    sums = np.nansum(predictions.target_NC, axis=0)
    return {name: int(n) for name, n in zip(run.classes, sums, strict=True)}


def _order(split: str) -> tuple[int, str]:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS), split


def _having(row: dict[str, Any] | None) -> str:
    return ABSENT if row is None else f"{row['images']:,} ({row['patients']:,})"


def _of_positive(run: RunFolder, numbers: dict[str, int]) -> str:
    """Word the count of the class that is looked for; of more classes a table has them."""
    name = run.target.positive
    return f"{numbers[name]:,} positive ({name})" if name in numbers else ""
