"""Compare runs from their folders alone: what each is, how they differ on the same patients, what can be said.

Two test figures may come from different cases, and the better of many is partly luck. So differences are taken over
the cases that two runs share, with paired intervals, and what several comparisons cost is counted in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.words import overrides, varying
from medtrain.io import record
from medtrain.metric import Cases, holm
from medtrain.report.folder import Array, RunFolder, read_folder
from medtrain.report.words import ABSENT, count, headline, label, number
from medtrain.target.classes import ClassTarget

FACTS = ("task", "model", "data", "seed", "best_score", "images_per_s", "peak_memory_mb", "wall_time_s")
LEVEL = 0.05


@dataclass(frozen=True)
class Compared:
    """A run, a test of one, or scores from elsewhere, with predictions of cases.

    Args:
        folder: its files.
        facts: run.json; of a test the facts of its run, with its own on top.
        target: what it predicts.
        probs_NC, target_NC, predicted_NC: as of `RunFolder.predictions`, one row a name in `cases`.
        patients: of each case.
        metrics: those that have a meaning; None: all.
    """

    folder: RunFolder
    facts: Mapping[str, Any]
    target: ClassTarget
    cases: list[str]
    patients: list[str]
    probs_NC: Array
    target_NC: Array
    predicted_NC: Array
    metrics: Sequence[str] | None = None

    @property
    def path(self) -> str:
        return str(self.folder.path)

    @property
    def classes(self) -> list[str]:
        return list(self.target.classes)

    def has(self, metric: str) -> bool:
        """Tell whether this metric has a meaning for the run."""
        return self.metrics is None or metric in self.metrics

    @cached_property
    def row(self) -> dict[str, int]:
        """Map each case to its row."""
        return {case: n for n, case in enumerate(self.cases)}

    @property
    def overrides(self) -> dict[str, str]:
        """Read the overrides of its command line, {key: value}."""
        return overrides(self.facts.get("overrides") or [])


def read_compared(path: Path) -> Compared | str:
    """Read the run at `path`, or say why there is nothing to compare."""
    try:
        folder = read_folder(path)
        facts = (record.read(path.resolve().parent) if folder.run.get("verb") == "test" else {}) | folder.run
    except MedtrainError as error:
        return str(error)
    predictions = folder.predictions()
    if predictions is None or not predictions.cases or not isinstance(folder.target, ClassTarget):
        return f"no test_predictions.csv with probabilities (status: {facts.get('status', 'unknown')})"
    table = folder.table
    assert table is not None
    named = table["patient"] if "patient" in table else table["case"]
    patient = dict(zip(table["case"].astype(str), named.astype(str), strict=True))
    if len(patient) < len(table):
        return f"test_predictions.csv names {len(table) - len(patient)} cases twice"
    patients = [patient[case] for case in predictions.cases]
    arrays = predictions.probs_NC, predictions.target_NC, predictions.predicted_NC
    return Compared(folder, facts, folder.target, predictions.cases, patients, *arrays)


def compare(
    runs: Sequence[Compared], baseline: int = 0, metric: str | None = None, bootstrap: int = 2000
) -> dict[str, Any]:
    """Compute all that `medtrain compare` shows and writes, as plain values.

    Args:
        runs: two or more.
        baseline: which of them the others are compared with.
        metric: what the sentences speak of; None: the first of AUROC, accuracy and the rest that has a value.
        bootstrap: replicates.

    Returns:
        ``runs`` (a dict each), ``differences`` (each other run minus the baseline: ``metrics`` and ``per_class`` with
        ``value``, ``ci95``, ``p`` and ``p_holm``), ``says`` (sentences), ``notes``.

    Raises:
        UsageError: two runs can't be compared, or there is no such metric.
    """
    base, others = runs[baseline], [run for n, run in enumerate(runs) if n != baseline]
    names = _names(runs)
    metric = metric or headline(base.folder.test.get("metrics") or {}) or "auroc"
    differences = [_difference(base, other, bootstrap) for other in others]
    shared = [
        name for name in differences[0]["metrics"] if all(name in difference["metrics"] for difference in differences)
    ]
    if metric not in shared:
        raise UsageError(f"compare.metric={metric}: there are: {', '.join(shared)}")
    _adjust([difference["metrics"] for difference in differences])
    for name in base.classes:
        _adjust([difference["per_class"][name] for difference in differences])
    says = [
        sentence(
            names[other.path], names[base.path], label(metric), difference["metrics"][metric], difference, len(others)
        )
        for other, difference in zip(others, differences, strict=True)
    ]
    notes = [note for other in others for note in _notes(base, other, names)]
    if len(runs) > 2:
        notes.append("choose between runs by validation (best_score): the best of several test figures is too good")
    return {
        "baseline": base.path,
        "metric": metric,
        "bootstrap": bootstrap,
        "runs": describe(runs, names),
        "differences": differences,
        "says": says,
        "notes": notes,
    }


def _difference(base: Compared, other: Compared, bootstrap: int) -> dict[str, Any]:
    rows = _common(base, other)
    rows_of_base, rows_of_other = rows[:, 0], rows[:, 1]
    order = [other.classes.index(name) for name in base.classes]
    target_NC, theirs_NC = base.target_NC[rows_of_base], other.target_NC[rows_of_other][:, order]
    if not np.array_equal(target_NC, theirs_NC, equal_nan=True):
        differ = np.flatnonzero((np.nan_to_num(target_NC, nan=-1) != np.nan_to_num(theirs_NC, nan=-1)).any(1))
        first = base.cases[rows_of_base[differ[0]]]
        raise UsageError(
            f"{base.path} and {other.path} have other labels for {len(differ)} of {len(rows)} cases, "
            f"{first} being the first: they were tested on different data"
        )
    patients = [base.patients[row] for row in rows_of_base]
    one, two = (
        Cases(probs_NC, target_NC, predicted_NC > 0.5, base.classes, patients)
        for probs_NC, predicted_NC in (
            (base.probs_NC[rows_of_base], base.predicted_NC[rows_of_base]),
            (other.probs_NC[rows_of_other][:, order], other.predicted_NC[rows_of_other][:, order]),
        )
    )
    differences = base.target.differences(one, two, bootstrap)

    def of_both(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if base.has(name) and other.has(name)}

    return {
        "run": other.path,
        "baseline": base.path,
        "n_cases": len(rows),
        "n_patients": len(set(patients)),
        "metrics": of_both(differences["metrics"]),
        "per_class": {name: of_both(values) for name, values in differences["per_class"].items()},
    }


def _common(base: Compared, other: Compared) -> Array:
    """Find rows_M2: where each common case stands in the one and in the other."""
    if type(base.target) is not type(other.target) or set(base.classes) != set(other.classes):
        one, two = (f"{run.path} ({run.target.kind}: {', '.join(run.classes)})" for run in (base, other))
        raise UsageError(f"{one} and {two} have other labels: they can't be compared")
    if base.target.positive != other.target.positive:
        raise UsageError(
            f"{base.path} finds {base.target.positive!r}, {other.path} finds {other.target.positive!r}: "
            "their positive classes differ, so they can't be compared"
        )
    rows = [(n, other.row[case]) for n, case in enumerate(base.cases) if case in other.row]
    if not rows:
        raise UsageError(f"{base.path} and {other.path} have no test case in common: compare runs on the same data")
    return np.asarray(rows)


def _adjust(entries: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Add p_holm to each metric: of as many comparisons as runs beside the baseline have it."""
    for metric in dict.fromkeys(name for metrics in entries for name in metrics):
        having = [metrics[metric] for metrics in entries if metric in metrics]
        for one, p in zip(having, holm([entry["p"] for entry in having]), strict=True):
            one["p_holm"] = p


def sentence(name: str, than: str, metric: str, entry: Mapping[str, Any], sizes: Mapping[str, Any], runs: int) -> str:
    """Say in words what one difference shows.

    Args:
        entry: ``value``, ``ci95``, ``p`` and ``p_holm`` of `name` minus `than`.
        sizes: ``n_cases`` and ``n_patients``.
        runs: how many runs are compared with the same baseline.
    """
    over = f"over {count(sizes['n_cases'], 'case')} of {count(sizes['n_patients'], 'patient')}"
    value, interval = entry["value"], entry["ci95"]
    if value is None:
        return f"{name} and {than}: {metric} is not defined {over}"
    if interval is None:
        return f"{name} and {than}: {metric} differs by {signed(value)} {over}; without an interval that shows nothing"
    low, high = interval
    if low <= 0 <= high:
        shown = f"{signed(value)}, its interval {number(low)} to {number(high)} holds 0"
        return f"no difference in {metric} shown between {name} and {than} {over}: {shown}"
    which, span = ("higher", (low, high)) if low > 0 else ("lower", (-high, -low))
    by = f"{number(abs(value))} ({number(span[0])} to {number(span[1])})"
    finding = f"{name} has a {which} {metric} than {than} by {by} {over}"
    if runs == 1:
        return f"{finding}; p = {p_text(entry['p'])}"
    if entry["p_holm"] < LEVEL:
        return f"{finding}; p = {p_text(entry['p_holm'])}, corrected for {runs} comparisons"
    return f"{finding}, but corrected for {runs} comparisons p = {p_text(entry['p_holm'])}: no difference shown"


def signed(value: float | None) -> str:
    """Write a number with its sign: +0.012, -0.004; n/a for None."""
    return ABSENT if value is None else f"{value:+.3f}"


def p_text(p: float | None) -> str:
    """Write a p value with two digits that count, never as 0."""
    return ABSENT if p is None else f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"


def describe(runs: Sequence[Compared], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Describe what each run is and came to: facts, overrides in which they differ, epochs, metrics."""
    words = [run.overrides for run in runs]
    differing, rows = varying(words), []
    for run, changed in zip(runs, words, strict=True):
        own = {
            "run": run.path,
            "name": names[run.path],
            **{key: run.facts.get(key) for key in FACTS},
            "overrides": {key: changed[key] for key in differing if key in changed},
            "epochs": _epochs(run.folder.history),
            "n_cases": len(run.cases),
            "n_patients": len(set(run.patients)),
            "metrics": run.folder.test.get("metrics") or {},
        }
        rows.append(own)
    return rows


def _epochs(history: pd.DataFrame | None) -> int | None:
    if history is None or "epoch" not in history or not history["epoch"].notna().any():
        return None
    return int(history["epoch"].max()) + 1


def _names(runs: Sequence[Compared]) -> dict[str, str]:
    """Name runs for sentences: by the model where that tells it from the others, else by the folder."""
    models = [str(run.facts.get("model") or "") for run in runs]
    return {
        run.path: model if model and models.count(model) == 1 else run.path
        for run, model in zip(runs, models, strict=True)
    }


def _notes(base: Compared, other: Compared, names: Mapping[str, str]) -> list[str]:
    notes = []
    one, two = names[base.path], names[other.path]
    shared = len(base.row.keys() & other.row.keys())
    if not shared == len(base.cases) == len(other.cases):
        notes.append(
            f"{two} was tested on {len(other.cases)} cases, {one} on {len(base.cases)}: "
            f"their difference is that on the {shared} they share"
        )
    tables = [(run.facts.get("fingerprints") or {}).get("table") for run in (base, other)]
    if None not in tables and tables[0] != tables[1]:
        notes.append(f"{two} and {one} read different tables: cases were matched by name")
    return notes
