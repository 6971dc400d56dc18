"""Tables of boxes that `inspect` prints: how many of each class, and how large the network would see them."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def box_tables(facts: dict[str, Any]) -> list[Table]:
    """Make a table of classes and a table of sizes from the facts that inspect.json holds under images.boxes."""
    classes = Table(title="boxes", title_justify="left")
    classes.add_column("class")
    for name in ("boxes", "images", "patients"):
        classes.add_column(name, justify="right")
    for name, row in facts["classes"].items():
        classes.add_row(name, *(f"{row[key]:,}" for key in ("boxes", "images", "patients")))
    classes.add_row("no box", "", f"{facts['images_without']:,}", "")
    sizes = Table(title="side (root of the area) in pixels of the network's input", title_justify="left")
    most = max(facts["side_px"].values(), default=0)
    for name in ("pixels", "boxes"):
        sizes.add_column(name, justify="right")
    sizes.add_column("")
    sizes.add_column("anchors reach", justify="right")
    for name, count in facts["side_px"].items():
        recall = facts.get("anchor_recall", {}).get(name.replace("and more", "to inf"))
        bar = "█" * round(24 * count / most) if most else ""
        sizes.add_row(name, f"{count:,}", bar, "" if recall is None else f"{recall:.0%}")
    return [classes, sizes]
