"""The imbalance of classes in each split, told before training, when something can still be done about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from medtrain.report.distribution import distribution, distribution_table
from medtrain.report.words import ABSENT
from medtrain.target import DataSpec, LabelCounts

Imbalance = dict[str, dict[str, dict[str, Any]]]
ROWS = 20


def imbalance(spec: DataSpec, targets: NDArray[Any], patients: NDArray[Any], splits: NDArray[Any]) -> Imbalance:
    """Compute {split: {class: row}} in plain numbers; a class that does not occur has a row too.

    A row holds ``images`` and ``patients`` that have the class, ``negatives`` known not to have it, ``unknown``
    (uncertain or blank, and counted nowhere else), ``percent`` (images of those known), ``factor`` (None where the
    class does not occur) and ``weight``, the suggested one. Of several labels a case, the factor is the ratio of
    the commoner to the rarer answer, and the weight that of a positive label; else the factor is that of the
    largest class to this one, and the weight scikit-learn's "balanced".

    Args:
        targets: as `medtrain.target.Target.indicators` takes them.
        patients, splits: of each case, (N,).
    """
    from medtrain.loss import class_weights, positive_weights  # late: who only reads run folders needs no torch

    if "values" in spec.target.forms:
        return distribution(spec, targets, patients, splits)
    by_split: Imbalance = {}
    for split in dict.fromkeys(splits.tolist()):
        of_split, several = splits == split, spec.target.several
        labels_NC = spec.target.indicators(targets[of_split])
        counts, has_NC = LabelCounts.of(labels_NC), labels_NC == 1
        yes, no = counts.positive, counts.negative
        weight_C = positive_weights(counts) if several else class_weights(counts)
        most_C = np.maximum(yes, no) if several else np.full(len(yes), yes.max(initial=0))
        least_C = np.minimum(yes, no) if several else yes
        by_split[str(split)] = {
            name: {
                "images": int(yes[c]),
                "patients": len(np.unique(patients[of_split][has_NC[:, c]])),
                "negatives": int(no[c]),
                "unknown": int(counts.unknown[c]),
                "percent": round(100 * yes[c] / max(1, yes[c] + no[c]), 2),
                "factor": round(float(most_C[c] / least_C[c]), 1) if yes[c] and least_C[c] else None,
                "weight": float(f"{weight_C[c]:.4g}"),
            }
            for c, name in enumerate(spec.classes)
        }
    return by_split


def imbalance_table(spec: DataSpec, by_split: Imbalance, unit: str = "images") -> Table:
    """Make a row a class: the training split in full, images and patients of the others; long lists are cut.

    Args:
        by_split: of `imbalance`; without a split ``train``, its first stands in for it.
        unit: what the cases are, in the plural.
    """
    if "values" in spec.target.forms:
        return distribution_table(spec, by_split, unit)
    main = "train" if "train" in by_split else next(iter(by_split))
    unnamed = spec.target.several and "labels" in spec.target.forms  # cases may have none of the classes
    others = [name for name in ("val", "test") if name in by_split]
    others = [name for name in others if name != main]
    unknown = any(row["unknown"] for row in by_split[main].values())
    table = Table(title=f"{unit} (patients) of each class", title_justify="left")
    table.add_column("class")
    # A list times False is empty: these columns are there only where they say something.
    for name in [main, "%", *["not"] * unnamed, *["unknown"] * unknown, "factor", "weight", *others]:
        table.add_column(name, justify="right")
    shown = list(by_split[main].items())[:ROWS]
    for name, row in shown:
        more = [f"{row['negatives']:,}"] * unnamed + [f"{row['unknown']:,}"] * unknown
        factor = ABSENT if row["factor"] is None else f"{row['factor']:,.1f}"
        cells = [_held(row), f"{row['percent']:.1f}", *more, factor, f"{row['weight']:,.4g}"]
        table.add_row(Text(name), *cells, *(_held(by_split[split][name]) for split in others))
    if len(shown) < len(spec.classes):
        table.add_row(f"... {len(spec.classes)} classes in all")
    return table


def _held(row: dict[str, Any]) -> str:
    return f"{row['images']:,} ({row['patients']:,})"
