"""What the test split of a table could tell: intervals to expect of its number of events, before any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from medtrain.metric.precision import effective, expected_precision
from medtrain.report.imbalance import Imbalance
from medtrain.report.words import entry, label
from medtrain.target import DataSpec

ROWS = 20
Expected = dict[str, dict[str, dict[str, Any]]]


def precision_to_expect(spec: DataSpec, by_split: Imbalance, splits: Mapping[str, Mapping[str, int]]) -> Expected:
    """Compute {class: {metric: {"expected", "ci95"}}} of the test split; {} without one, or without probabilities.

    Args:
        by_split: of `imbalance`.
        splits: {split: {"images", "patients"}}; cases of a patient count less than as many patients.
    """
    if "test" not in by_split or "probabilities" not in spec.target.forms:
        return {}
    per_patient = max(1.0, splits["test"]["images"] / max(1, splits["test"]["patients"]))
    wanted = [spec.target.positive] if spec.target.positive else list(spec.classes)
    rows = {name: by_split["test"][name] for name in wanted}
    return {
        name: expected_precision(
            effective(row["images"], row["patients"]), effective(row["negatives"], row["negatives"] / per_patient)
        )
        for name, row in rows.items()
    }


def precision_table(expected: Expected) -> Table:
    """Make a row a class, with the 95 % interval of each metric if it came out as is supposed."""
    first = next(iter(expected.values()))
    table = Table(title="95 % intervals to expect of the test split", title_justify="left")
    table.add_column("class")
    for metric, result in first.items():
        table.add_column(f"{label(metric)} of {result['expected']:g}", justify="right")
    for name, results in list(expected.items())[:ROWS]:
        cells = [entry({"value": result["expected"], "ci95": result["ci95"]})[1] for result in results.values()]
        table.add_row(Text(name), *cells)
    if len(expected) > ROWS:
        table.add_row(f"... {len(expected)} classes in all")
    return table
