"""A table of what masks mark, which `inspect` prints: volumes, pieces, borders and grey levels of each class."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def mask_table(facts: dict[str, Any]) -> Table:
    """Make the table from the facts that inspect.json holds under images.marked."""
    table = Table(title="what masks mark: median (smallest to largest)", title_justify="left")
    table.add_column("class")
    for name in ("cases", "ml", "pieces", "at the border", "grey within", "grey outside"):
        table.add_column(name, justify="right")
    for name, row in facts.items():
        ml, pieces, within, outside = (_ends(row[key]) for key in ("ml", "pieces", "grey_within", "grey_outside"))
        table.add_row(name, f"{row['cases']:,}", ml, pieces, f"{row['borders']:,}", within, outside)
    return table


def _ends(three: dict[str, float] | None) -> str:
    if three is None:
        return ""
    if three["smallest"] == three["largest"]:
        return f"{three['median']:.4g}"
    return f"{three['median']:.4g} ({three['smallest']:.4g} to {three['largest']:.4g})"
