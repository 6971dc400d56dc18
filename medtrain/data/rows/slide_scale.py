"""How large the pixels of slides are, as a table says it: um/px or the objective, a cell a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.core.errors import Problem
from medtrain.io.slide import AT_40X, PLAUSIBLE, SAME_SCALE
from medtrain.io.table import RawTable

ROLES = {"mpp": "um/px", "magnification": "of the objective"}  # columns, and the unit of their cells


def scales_of(
    raw: RawTable, columns: Mapping[str, Any], where: Sequence[str]
) -> tuple[list[float | None] | None, list[tuple[int, Problem]]]:
    """Read um/px of level 0 of each row's slide.

    Args:
        columns: the names of those called ``mpp`` and ``magnification``, None where there is none.
        where: the rows stand.

    Returns:
        um/px, None of a blank cell; None for all without such columns. And the rows whose cells can't be right.
    """
    named = {role: str(columns[role]) for role in ROLES if columns.get(role)}
    if not named:
        return None, []
    out: list[float | None] = []
    bad: list[tuple[int, Problem]] = []
    cells = {role: raw.known_names(column) for role, column in named.items()}
    for n in range(len(raw.text)):
        values = {role: texts[n] for role, texts in cells.items() if texts[n]}
        sizes = [_um(text, role) for role, text in values.items()]
        right = [size for size in sizes if size is not None and PLAUSIBLE[0] <= size <= PLAUSIBLE[1]]
        written = ", ".join(f"{named[role]} {text!r}" for role, text in values.items())
        if len(right) < len(sizes):
            detail = f"{written}: no um/px (0.25 at 40x) or no magnification (40) of a slide"
            bad.append((n, Problem("bad_scale", where[n], detail)))
        elif len(right) == 2 and not 1 / SAME_SCALE < right[0] / right[1] < SAME_SCALE:
            detail = f"{written} contradict each other: {right[1]:.3g} um/px would be {AT_40X / right[1]:.3g}x"
            bad.append((n, Problem("bad_scale", where[n], detail)))
        out.append(right[0] if right else None)
    return out, bad


def _um(text: str, role: str) -> float | None:
    """Read a cell as um/px; an objective may be written 40x."""
    try:
        value = float(text.lower().rstrip("x ") if role == "magnification" else text)
    except ValueError:
        return None
    if not value > 0:
        return None
    return AT_40X / value if role == "magnification" else value
