"""A table of the columns beside the images, which `inspect` prints: what they hold, and how labels share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

MOST = 5  # categories, and classes, that are shown


def column_table(facts: Mapping[str, Mapping[str, Any]]) -> Table:
    """Make the table from what inspect.json holds under covariates: a row a column, a column a class."""
    classes = list(dict.fromkeys(name for row in facts.values() for name in row["by_class"]))
    shown = classes[:MOST]
    left = len(classes) - len(shown) + max(row["classes_left_out"] for row in facts.values())
    title = "columns beside the image: median (quartiles) of numbers, shares of categories"
    table = Table(title=title + f"; {left} classes are left to inspect.json" * bool(left), title_justify="left")
    for name in ("column", "kind", "missing", "all", *shown):
        table.add_column(Text(name))
    for name, row in facts.items():
        missing = f"{row['missing']:,} ({100 * row['missing'] / row['cases']:.0f} %)"
        parts = [_words(row["by_class"].get(one)) for one in shown]
        table.add_row(*map(Text, (name, row["kind"], missing, _words(row), *parts)))
    return table


def _words(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if "categories" not in row:
        if row["median"] is None:
            return "nothing known"
        return f"{row['median']:.4g} ({row['lower_quartile']:.4g} to {row['upper_quartile']:.4g})"
    counts = row["categories"]
    total, shown = sum(counts.values()), list(counts.items())[:MOST]
    parts = [f"{name} {100 * n / total:.0f} %" for name, n in shown]
    return "\n".join([*parts, *[f"{len(counts) - MOST} more"] * (len(counts) > MOST)]) or "nothing known"
