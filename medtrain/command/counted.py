"""How often a test split was looked at: what is chosen by the best of many looks is too good by as much as luck gives.

A run counts its own tests (`tests_counted` in run.json). Runs of a sweep look at the same cases once each, and an
ensemble looks at those of its members again whenever it is judged, by whatever policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.io import record
from medtrain.io.files import write_json

TESTS, ENSEMBLES, OF_SWEEP = "tests_counted", "ensembles_counted", "tests_of_sweep"


def count_ensemble(units: Sequence[Sequence[Path]]) -> int:
    """Count the judgement of an ensemble in the run.json of its members; tell how often its cases were looked at.

    That is by the members that tested them, one by one, and by ensembles; of folds the one looked at most counts.

    Args:
        units: the run folders that tested the same cases; of a cross-validation a unit a fold.
    """
    looks = []
    for unit in units:
        fields = [record.read(folder) for folder in unit]
        judged = max(_number(one, ENSEMBLES) for one in fields) + 1
        looks.append(sum(_number(one, TESTS) for one in fields) + judged)
        for folder, one in zip(unit, fields, strict=True):
            _note(folder, one | {ENSEMBLES: _number(one, ENSEMBLES) + 1})
    return max(looks)


def tests_of_splits(fields: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Count the tests of each test split, by its fingerprint, over the run.json of several runs."""
    counts: Counter[str] = Counter()
    for one in fields:
        if split := split_of(one):
            counts[split] += _number(one, TESTS)
    return counts


def split_of(fields: Mapping[str, Any]) -> str:
    """Name the split of a run by its fingerprint; empty where it is not known."""
    return str((fields.get("fingerprints") or {}).get("split") or "")


def note_sweep(folders: Sequence[Path]) -> int:
    """Write into the run.json of a sweep's jobs how often all of them together tested their split; the most of these.

    Jobs that run are left alone.
    """
    fields = {folder: record.look(folder) for folder in folders}
    counts = tests_of_splits(fields.values())
    for folder, one in fields.items():
        if (n := counts[split_of(one)]) > _number(one, TESTS) and record.status(one) == "finished":
            _note(folder, one | {OF_SWEEP: n})
    return max(counts.values(), default=0)


def _note(folder: Path, fields: Mapping[str, Any]) -> None:
    try:
        write_json(folder / record.FILE, dict(fields))
    except OSError as error:
        print(f"warning: {folder}: a look at its test split can't be counted there ({error.strerror or error})")


def _number(fields: Mapping[str, Any], key: str) -> int:
    return int(fields.get(key) or 0)
