"""The operating-point explorer: what another threshold would have done, for those who must choose one.

All numbers are computed here, on a grid of thresholds with intervals over patients, and set into the page as JSON; the
page's script only looks them up. Without a script, and on paper, the table at the decision stands in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from medtrain.metric.operating import EVEN, RATES, OperatingPoints, operating_points, threshold_grid
from medtrain.report.folder import Array, RunFolder
from medtrain.report.views import Cell, Section, Table, part, section
from medtrain.report.words import label, number

THRESHOLDS = 200  # of a class; fewer where there are many classes
NUMBERS = 2400  # thresholds of all classes together: about 300 kB of the page
MOST = 40  # classes that can be chosen


@dataclass(frozen=True)
class Curve:
    """One class against the rest, over thresholds.

    Args:
        c: the number of the class.
        points: at each threshold.
        decision: the threshold that the metrics use; None where the most probable class is taken.
        target, score: of the cases whose label is known.
    """

    c: int
    name: str
    points: OperatingPoints
    decision: float | None
    target: Array
    score: Array


@lru_cache(maxsize=1)  # the figures and the explorer ask for the same ones, and they take seconds
def curves_of(run: RunFolder) -> tuple[Curve, ...]:
    """Find the classes that can be told apart in the test: both with positives and with negatives."""
    predictions = run.predictions()
    if predictions is None:
        return ()
    limits = run.thresholds
    numbers = [len(run.classes) - 1] if run.target.positive else list(range(len(run.classes)))[:MOST]
    size = min(THRESHOLDS, max(20, NUMBERS // max(1, len(numbers))))
    everyone = len(predictions.target_NC) if predictions.patients is None else len(set(predictions.patients))
    curves = []
    for c in numbers:
        target, score = predictions.target_NC[:, c], predictions.probs_NC[:, c]
        known = np.isfinite(target)
        target, score = target[known], score[known]
        if not 0 < target.sum() < len(target):
            continue
        patients = None
        if predictions.patients is not None:
            patients = [patient for patient, is_known in zip(predictions.patients, known, strict=True) if is_known]
        name = run.classes[c]
        limit = limits.get(name)
        decision = float(limit) if isinstance(limit, (int, float)) else None
        grid = threshold_grid(score, target, size, keep=() if decision is None else (decision,))
        points = operating_points(score, target, patients, grid, everyone)
        curves.append(Curve(c, name, points, decision, target, score))
    return tuple(curves)


def data_of(curve: Curve) -> dict[str, Any]:
    """Give what the script needs of a class: JSON values, undefined ones null."""
    points = curve.points
    rates = {name: _triples(points.rate(name)) for name in (*RATES, *EVEN)}
    return {
        "name": curve.name,
        "start": start_of(curve),
        "fitted": curve.decision is not None,
        "thresholds": points.thresholds_T.tolist(),
        "counts": points.counts_T4.astype(int).tolist(),
        **rates,
    }


def start_of(curve: Curve) -> int:
    """Choose where the slider starts: at the decision, else nearest to one half."""
    aim = 0.5 if curve.decision is None else curve.decision
    return int(np.abs(curve.points.thresholds_T - aim).argmin())


@dataclass(frozen=True)
class Explorer:
    """The panel that the script fills, and the table that stands for it without a script and on paper.

    Args:
        about: what the slider means.
        rates: name of each rate, by its key in `curves`.
        curves: what the script looks up, a dict a class.
        at_decision: the table.
    """

    about: str
    rates: dict[str, str]
    curves: list[dict[str, Any]]
    at_decision: Table
    template: ClassVar[str] = "explorer.html.j2"


@section(forms={"probabilities"})
def explorer(run: RunFolder) -> Section | None:
    """Draw the operating points of each class; None where none can be told apart, or each fold had its own thresholds.

    One threshold for all cases would then show what no network of the cross-validation decided.
    """
    curves = curves_of(run)
    if not curves or (run.out_of_fold and not run.thresholds and not run.target.exclusive):
        return None
    names = {name: label(name) for name in RATES}
    panel = Explorer(run.target.words.thresholds, names, list(map(data_of, curves)), _at_decision(curves))
    return part("explorer", "Operating points", panel)


def _at_decision(curves: Sequence[Curve]) -> Table:
    rows = []
    for curve in curves:
        i = start_of(curve)
        cells = [Cell(number(float(curve.points.thresholds_T[i])))]
        for name in RATES:
            value, low, high = _triples(curve.points.rate(name))[i]
            cells.append(Cell(number(value), "" if low is None else f"{number(low)} to {number(high)}"))
        cells += [Cell(f"{int(n):,}") for n in curve.points.counts_T4[i]]
        rows.append((curve.name, cells))
    header = ["Class", "Threshold", *map(label, RATES), "TP", "FP", "FN", "TN"]
    return Table(header, rows, "names", "Operating point at the start")


def _triples(rate: tuple[Array, Array]) -> list[list[float | None]]:
    """Make [value, low, high] at each threshold."""
    values_T, intervals_T2 = rate
    rows = np.column_stack([values_T, intervals_T2]).tolist()
    return [[None if x != x else round(x, 5) for x in row] for row in rows]
