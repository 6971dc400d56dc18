"""The reliability diagram: observed shares against predicted probabilities, with intervals where the test has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.metric import reliability
from medtrain.report.canvas import BANDS, COLOURS, DRAWN, colour, diagonal, legend, legible, new_axes, style, tidy
from medtrain.report.folder import Array, Predictions, RunFolder
from medtrain.target import Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_diagram(run: RunFolder, predictions: Predictions) -> Figure | None:
    """Draw the test's own bins; of a test without them (an older one) its predictions', without intervals."""
    bins = bins_of(run)
    figure, axes = new_axes()
    diagonal(axes)
    for i, (name, rows) in enumerate(list(bins.items())[:DRAWN]):
        expected, observed = (np.array([row[key] for row in rows], dtype=float) for key in ("predicted", "observed"))
        axes.plot(expected, observed, style(i), color=colour(i), marker="o", markersize=4, label=legible(name))
        if len(bins) <= BANDS:
            ends = np.array([row.get("ci95") or (np.nan, np.nan) for row in rows], dtype=float).T
            axes.vlines(expected, *ends, color=colour(i), linewidth=1.1, alpha=0.6)
    if not bins:
        probs, outcome = reliability_of(predictions, run.target)
        if not len(probs):
            return None
        expected, share, _ = reliability(probs, outcome)
        axes.plot(expected, share, color=COLOURS[0], marker="o", markersize=4)
    tidy(axes, "predicted probability", "observed share", unit=True)
    if len(bins) > 1:
        legend(figure, axes, min(len(bins), DRAWN), "label")
    return figure


def bins_of(run: RunFolder) -> dict[str, list[dict[str, Any]]]:
    """Choose the bins to draw: the positive class's, the most likely class's, or each label's; {} if there are none."""
    bins: dict[str, list[dict[str, Any]]] = (run.test.get("calibration") or {}).get("bins") or {}
    if run.target.exclusive and "top_label" in bins:
        bins = {"top_label": bins["top_label"]}
    observed = {name: [row for row in rows if row.get("observed") is not None] for name, rows in bins.items()}
    return {name: rows for name, rows in observed.items() if rows}


def reliability_of(predictions: Predictions, target: Target) -> tuple[Array, Array]:
    """Give probabilities and outcomes: the positive class (binary), the most likely class, or all labels pooled."""
    probs, true_NC = predictions.probs_NC, predictions.target_NC
    if target.several:
        known = np.isfinite(true_NC)
        return probs[known], true_NC[known]
    known = np.isfinite(true_NC[:, 0])
    probs, true_NC = probs[known], true_NC[known]
    if target.positive:
        return probs[:, -1], true_NC[:, -1]
    top = probs.argmax(axis=1) if probs.size else np.zeros(0, dtype=int)
    rows = np.arange(len(top))
    return probs[rows, top], true_NC[rows, top]
