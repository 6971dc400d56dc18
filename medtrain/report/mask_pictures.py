"""Segmented cases as pictures: worst, median and best, with outlines of what is true and what was predicted."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medtrain.io.files import atomic_path, write_text
from medtrain.report.films import film_gallery
from medtrain.report.folder import RunFolder
from medtrain.report.views import Section, section
from medtrain.report.words import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DICE = "dice_"  # columns of a class each, in the table of predictions


def write_mask_pictures(
    folder: Path, table: pd.DataFrame, classes: Sequence[str], draw: Callable[[str, str], Figure | None], most: int
) -> None:
    """Write pictures/01.png, ... and pictures/pictures.csv of a judged folder; none remain of an earlier run.

    Args:
        table: a row a case: case, and the Dice of each class, NaN where there is none.
        draw: gives the figure of a case under a title; None where its files are gone.
        most: how many; 0 for none (pictures of patients then stay out of the folder and the report).
    """
    place = folder / "pictures"
    shutil.rmtree(place, ignore_errors=True)
    rows: list[dict[Any, Any]] = []
    for row in chosen(table, classes, most).to_dict("records"):
        dice = f"Dice {number(float(row['dice']))}"
        figure = draw(str(row["case"]), f"{row['case']}: {dice} ({row['why']})")
        if figure is None:
            continue
        name = f"{len(rows) + 1:02d}.png"
        with atomic_path(place / name) as temporary:
            figure.savefig(temporary, format="png")
        rows.append({"picture": name} | row)
    if rows:
        write_text(place / "pictures.csv", pd.DataFrame(rows).to_csv(index=False))


def chosen(table: pd.DataFrame, classes: Sequence[str], most: int) -> pd.DataFrame:
    """Choose up to `most` cases, in three equal parts: worst, around the median, best; by the mean Dice of classes.

    Returns:
        case, why, dice; cases without any Dice are left out.
    """
    mean = table[[DICE + name for name in classes]].astype(float).mean(axis=1)
    ranked = pd.DataFrame({"case": table["case"], "dice": mean}).dropna().sort_values("dice", kind="stable")
    count = min(max(most, 0), len(ranked))
    parts = [count - 2 * (count // 3), count // 3, count // 3]  # of few cases the worst come first
    middle = max(parts[0], min((len(ranked) - parts[1]) // 2, len(ranked) - parts[2] - parts[1]))
    places = [range(parts[0]), range(middle, middle + parts[1]), range(len(ranked) - parts[2], len(ranked))]
    named = [
        ranked.iloc[list(own)].assign(why=why) for own, why in zip(places, ("worst", "median", "best"), strict=True)
    ]
    return pd.concat(named)[["case", "why", "dice"]].reset_index(drop=True)


@section(forms={"masks"})
def mask_gallery(run: RunFolder) -> Section | None:
    """Show the pictures, with the Dice of each case."""
    text = (
        "Outlines of what was predicted (solid) and what is true (dashed), in the planes that hold most: the cases "
        "with the lowest Dice, those around the median, and the highest."
    )
    return film_gallery(run, text, lambda row: f"Dice {number(float(row['dice']))}", "sheets.html.j2")


def columns_of(table: pd.DataFrame, prefix: str, classes: Sequence[str]) -> np.ndarray:
    """Give (N, C) numbers of a table of predictions, whose columns are PREFIX and a class; NaN where there are none."""
    return np.stack([pd.to_numeric(table[prefix + name], errors="coerce").to_numpy(float) for name in classes], 1)
