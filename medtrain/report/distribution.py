"""How quantities are distributed in each split, told before training: what a table of classes is for classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from medtrain.target import DataSpec

Distribution = dict[str, dict[str, dict[str, Any]]]
QUANTILES = {"min": 0.0, "q1": 0.25, "median": 0.5, "q3": 0.75, "max": 1.0}


def distribution(spec: DataSpec, targets: NDArray[Any], patients: NDArray[Any], splits: NDArray[Any]) -> Distribution:
    """Compute {split: {quantity: row}} in plain numbers, in the user's unit.

    A row holds ``images`` and ``patients`` whose value is known, ``unknown`` images, ``mean``, ``sd`` and quartiles;
    None where no value is known.

    Args:
        targets: (N, V), NaN where unknown.
        patients, splits: of each case, (N,).
    """
    values_NV = np.asarray(targets, np.float64).reshape(len(splits), -1)
    by_split: Distribution = {}
    for split in dict.fromkeys(splits.tolist()):
        of_split = splits == split
        by_split[str(split)] = {
            name: _row(values_NV[of_split, v], patients[of_split]) for v, name in enumerate(spec.classes)
        }
    return by_split


def _row(values_N: NDArray[Any], patients_N: NDArray[Any]) -> dict[str, Any]:
    known = np.isfinite(values_N)
    own = values_N[known]
    row: dict[str, Any] = {
        "images": int(known.sum()),
        "patients": len(np.unique(patients_N[known].astype(str))),
        "unknown": int((~known).sum()),
        "factor": None,
    }
    numbers = (
        {"mean": own.mean(), "sd": own.std(), **{k: np.quantile(own, q) for k, q in QUANTILES.items()}}
        if len(own)
        else {}
    )
    return row | {name: float(numbers[name]) if numbers else None for name in ("mean", "sd", *QUANTILES)}


def distribution_table(spec: DataSpec, by_split: Distribution, noun: str = "images") -> Table:
    """Make a row a split and quantity; `noun` names the cases."""
    unit = getattr(spec.target, "unit", "")
    table = Table(title=f"{noun} (patients), and values" + f" in {unit}" * bool(unit), title_justify="left")
    table.add_column("quantity")
    for name in ("split", noun, "unknown", "mean", "SD", "least", "quartiles", "greatest"):
        table.add_column(name, justify="right")
    for name in spec.classes:
        for split, rows in by_split.items():
            row = rows[name]
            held = f"{row['images']:,} ({row['patients']:,})"
            if row["mean"] is None:
                table.add_row(Text(name), split, held, f"{row['unknown']:,}")
                continue
            mean, sd, least, most = (f"{row[key]:.4g}" for key in ("mean", "sd", "min", "max"))
            quartiles = " ".join(f"{row[key]:.4g}" for key in ("q1", "median", "q3"))
            table.add_row(Text(name), split, held, f"{row['unknown']:,}", mean, sd, least, quartiles, most)
    return table
