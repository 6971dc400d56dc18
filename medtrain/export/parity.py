"""Are two files of predictions the same? Compared cell by cell; what differs is named, with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

Compare = Callable[[Path, Path, "Limits"], "Parity"]
SHOWN = 20


@dataclass(frozen=True)
class Limits:
    """How far predictions may lie apart.

    Args:
        probability: of a probability, a score or an uncertainty.
        changes: a decision may change where its probability lies within `probability` of the threshold.
        thresholds: {class: threshold} of the decision.
    """

    probability: float = 1e-5
    changes: bool = False
    thresholds: dict[str, float] = field(default_factory=dict)


@dataclass
class Parity:
    """What a comparison has shown.

    Attributes:
        cases: that were compared.
        largest: the largest difference of a probability.
        pixels: the largest between the edges of boxes.
        voxels, voxels_apart: of label maps, and how many of them differ.
        changed: decisions that differ, a sentence each.
        unsteady: boxes below the threshold that one side lacks, as ties decide about them, a sentence each.
        faults: what may not be, a sentence each.
    """

    cases: int = 0
    largest: float = 0.0
    pixels: float = 0.0
    voxels: int = 0
    voxels_apart: int = 0
    changed: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_classes(ours: Path, theirs: Path, limits: Limits) -> Parity:
    """Compare two CSVs of class predictions: the run's, and what predict.py has written of the same files."""
    one, other, parity = read_tables(ours, theirs)
    for column in () if parity.faults else one.columns:
        if column.startswith(("prob_", "uncertainty")):
            _numbers(parity, one, other, column, limits)
        elif column == "prediction" or column.startswith("prediction_"):
            _decisions(parity, one, other, column, limits)
        else:
            texts(parity, one, other, column)
    return parity


def compare_values(ours: Path, theirs: Path, limits: Limits) -> Parity:
    """Compare two CSVs of quantities: numbers may differ by `Limits.probability` of a column's standard deviation."""
    one, other, parity = read_tables(ours, theirs)
    for column in () if parity.faults else one.columns:
        if column.startswith(("prediction", "lower", "upper", "uncertainty")):
            _numbers(parity, one, other, column, limits, _spread(one[column]))
        else:
            texts(parity, one, other, column)
    return parity


def compare_risks(ours: Path, theirs: Path, limits: Limits) -> Parity:
    """Compare two CSVs of times to an event: chances as probabilities, log risks as quantities, groups as decisions."""
    one, other, parity = read_tables(ours, theirs)
    for column in () if parity.faults else one.columns:
        if column.startswith("surv_"):
            _numbers(parity, one, other, column, limits)
        elif column in ("risk", "uncertainty"):
            _numbers(parity, one, other, column, limits, _spread(one["risk"]))
        elif column == "risk_group":
            _decisions(parity, one, other, column, limits)
        else:
            texts(parity, one, other, column)
    return parity


def read_tables(ours: Path, theirs: Path) -> tuple[pd.DataFrame, pd.DataFrame, Parity]:
    """Read two tables as text, and tell whether they have the same columns and cases."""
    one, other = (pd.read_csv(file, dtype=str, keep_default_na=False) for file in (ours, theirs))
    parity = Parity(len(one))
    if list(one.columns) != list(other.columns):
        parity.faults.append(f"columns {', '.join(other.columns)}, not {', '.join(one.columns)}")
    elif one["case"].tolist() != other["case"].tolist():
        parity.faults.append(f"{len(other)} cases, not the same {len(one)}")
    return one, other, parity


def _spread(cells: pd.Series) -> float:
    """Measure how far the numbers of a column lie apart, or a hundredth of the largest where they hardly do."""
    values = pd.to_numeric(cells, errors="coerce").dropna()
    if values.empty:
        return 1.0
    return max(float(values.std()) if len(values) > 1 else 1.0, float(values.abs().max()) * 1e-2, 1e-12)


def texts(parity: Parity, one: pd.DataFrame, other: pd.DataFrame, column: str) -> None:
    rows = one[column] != other[column]
    named = zip(one["case"][rows], one[column][rows], other[column][rows], strict=True)
    parity.faults += [f"{case}: {column} {theirs!r}, not {ours!r}" for case, ours, theirs in named]


def _numbers(
    parity: Parity, one: pd.DataFrame, other: pd.DataFrame, column: str, limits: Limits, scale: float = 1.0
) -> None:
    """Compare numbers; of those in units of their own, differences count in parts of `scale`."""
    values = [pd.to_numeric(side[column], errors="coerce").to_numpy(float) / scale for side in (one, other)]
    apart = np.abs(values[0] - values[1])
    apart[np.isnan(values[0]) & np.isnan(values[1])] = 0.0
    apart[np.isnan(apart)] = np.inf
    parity.largest = max(parity.largest, float(apart.max(initial=0.0)))
    for row in np.flatnonzero(apart > limits.probability).tolist():
        named = f"{one['case'].iloc[row]}: {column} {other[column].iloc[row]}, not {one[column].iloc[row]}"
        parity.faults.append(named)


def _decisions(parity: Parity, one: pd.DataFrame, other: pd.DataFrame, column: str, limits: Limits) -> None:
    for row in np.flatnonzero(one[column] != other[column]).tolist():
        name = column.removeprefix("prediction").removeprefix("_")
        sides = [frame[column].iloc[row] for frame in (one, other)]
        near = _nearness(one.iloc[row], name, limits)
        text = f"{one['case'].iloc[row]}: {column} {sides[1]}, not {sides[0]}; {near:.2g} from where it tips"
        parity.changed.append(text)
        if not limits.changes or near > limits.probability:
            parity.faults.append(text)


def _nearness(row: pd.Series, name: str, limits: Limits) -> float:
    """Compute how far a case's probability is from its threshold; of exclusive classes half the lead of the first.

    It is infinite of a case that the run could not read.
    """
    if row.get("error"):
        return float("inf")
    if "risk_group" in row:  # whose cut-off is on the logistic function of the risk
        return abs(1 / (1 + np.exp(-float(row["risk"]))) - next(iter(limits.thresholds.values())))
    if name or len(limits.thresholds) == 1:
        name = name or next(iter(limits.thresholds))
        return abs(float(row[f"prob_{name}"]) - limits.thresholds[name])
    probs = sorted(float(value) for column, value in row.items() if str(column).startswith("prob_"))
    return (probs[-1] - probs[-2]) / 2


def agreement(proof: Mapping[str, Any]) -> str:
    """Say in words how far an export agrees with its run, from its parity.json."""
    changed = f"{len(proof['changed'])} decisions changed"
    if proof["voxels"]:
        return f"{proof['voxels_apart']:,} of {proof['voxels']:,} voxels have another label"
    return f"the largest difference of a probability is {proof['largest']:.1e}, {changed}"
