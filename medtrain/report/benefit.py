"""The curves of use: what came true of a predicted probability, and what acting on it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.report.canvas import BANDS, DRAWN, colour, diagonal, legend, legible, new_axes, style, tidy
from medtrain.report.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def calibration_curve(run: RunFolder) -> Figure | None:
    """Draw the smooth calibration curve of each class that has one, with its band where few are drawn."""
    smooth: dict[str, Any] = (run.test.get("calibration") or {}).get("smooth") or {}
    curves = {name: entry["curve"] for name, entry in smooth.items() if entry.get("curve")}
    if not curves:
        return None
    figure, axes = new_axes()
    diagonal(axes)
    for i, (name, rows) in enumerate(list(curves.items())[:DRAWN]):
        predicted, observed = (np.array([row[key] for row in rows], float) for key in ("predicted", "observed"))
        axes.plot(predicted, observed, style(i), color=colour(i), label=legible(name))
        if len(curves) <= BANDS:
            _band(axes, predicted, rows, i)
    tidy(axes, "predicted probability", "observed share", unit=True)
    if len(curves) > 1:
        legend(figure, axes, min(len(curves), DRAWN), "class")
    return figure


def decision_curve(run: RunFolder) -> Figure | None:
    """Draw net benefit by threshold; that of treating everyone where one class is drawn, dots for own thresholds."""
    curves: dict[str, Any] = run.test.get("utility") or {}
    if not curves:
        return None
    figure, axes = new_axes()
    axes.axhline(0, color="#888888", linewidth=1)
    highest = max(entry["prevalence"] for entry in curves.values())
    for i, (name, entry) in enumerate(list(curves.items())[:DRAWN]):
        rows = entry["curve"]
        threshold = np.array([row["threshold"] for row in rows])
        model, everyone = (np.array([row[key]["value"] for row in rows]) for key in ("model", "all"))
        axes.plot(threshold, model, style(i), color=colour(i), label=legible(name))
        if len(curves) <= BANDS:
            _band(axes, threshold, [row["model"] for row in rows], i)
            axes.plot(threshold, everyone, ":", color=colour(i), linewidth=1)
        if entry.get("decision"):
            axes.plot(entry["decision"]["threshold"], entry["decision"]["model"]["value"], "o", color=colour(i))
    tidy(axes, "threshold probability", "net benefit a case")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.25 * highest - 0.01, 1.05 * highest + 0.01)
    if len(curves) > 1:
        legend(figure, axes, min(len(curves), DRAWN), "class")
    return figure


def _band(axes: Axes, x: np.ndarray, rows: list[dict[str, Any]], i: int) -> None:
    ends = np.array([row.get("ci95") or (np.nan, np.nan) for row in rows], float).T
    axes.fill_between(x, *ends, color=colour(i), alpha=0.15, linewidth=0)
