"""ROC and precision-recall curves with bands over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtrain.metric import auroc
from medtrain.metric.curves import precision_points, roc_points
from medtrain.report.canvas import BANDS, colour, diagonal, dot, legend, legible, new_axes, style, tidy
from medtrain.report.explorer import Curve
from medtrain.report.folder import Array, Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = np.linspace(0, 1, 101)


def roc(curves: Sequence[Curve], predictions: Predictions) -> Figure | None:
    """Draw the ROC curve of each class against the rest; of a binary problem the positive class. Dots: the decision."""
    if not curves:
        return None
    figure, axes = new_axes()
    diagonal(axes)
    for i, curve in enumerate(curves):
        fpr, tpr = roc_points(curve.target, curve.score)
        named = f"{legible(curve.name)}  {auroc(curve.score, curve.target):.3f}"
        axes.plot(fpr, tpr, color=colour(i), linestyle=style(i), label=named)
        if len(curves) <= BANDS:
            low, high = roc_band(curve)
            axes.fill_between(GRID, low, high, color=colour(i), alpha=0.15, linewidth=0)
        target, decided = predictions.target_NC[:, curve.c], predictions.predicted_NC[:, curve.c]
        known = np.isfinite(target)
        if np.isfinite(decided[known]).all():
            x, y = decided[target == 0].mean(), decided[target == 1].mean()  # false and true positive rate
            dot(axes, x, y, i)
    tidy(axes, "1 - specificity", "sensitivity", unit=True)
    legend(figure, axes, len(curves), "AUROC")
    return figure


def precision_recall(curves: Sequence[Curve]) -> Figure | None:
    """Draw precision against recall, with the prevalence as the level of chance."""
    if not curves:
        return None
    figure, axes = new_axes()
    for i, curve in enumerate(curves):
        precision, recall = precision_points(curve.target, curve.score)
        axes.plot(recall, precision, style(i), color=colour(i), drawstyle="steps-post", label=legible(curve.name))
        axes.axhline(curve.target.mean(), color=colour(i), linewidth=0.7, linestyle=":")
        if len(curves) <= BANDS:
            low, high = precision_band(curve)
            axes.fill_between(GRID, low, high, color=colour(i), alpha=0.15, linewidth=0)
    tidy(axes, "sensitivity (recall)", "PPV (precision)", unit=True)
    legend(figure, axes, len(curves), "class")
    return figure


def roc_band(curve: Curve) -> tuple[Array, Array]:
    """Compute a pointwise 95 % band of the curve at the rates `GRID` of false positives.

    At each threshold both rates err: the band runs through the points at which each is 1 / sqrt(2) of the way to its
    limit, so that both together are as unlikely as either limit is.
    """
    (se_T, se_T2), (sp_T, sp_T2) = (curve.points.rate(name) for name in ("sensitivity", "specificity"))
    ends = []
    for side in (0, 1):
        tpr, fpr = (v + (ends_T2[:, side] - v) / np.sqrt(2) for v, ends_T2 in ((se_T, se_T2), (sp_T, sp_T2)))
        known = np.isfinite(tpr) & np.isfinite(fpr)
        x, y = 1 - fpr[known][::-1], tpr[known][::-1]  # descending thresholds: rising rates
        outer = ([0, *x, 1], [0, *y, 1]) if side == 0 else ([0, *x, 1], [y[0] if len(y) else 0, *y, 1])
        ends.append(np.interp(GRID, *outer) if len(x) else np.full(len(GRID), np.nan))
    return ends[0], ends[1]


def precision_band(curve: Curve) -> tuple[Array, Array]:
    """Compute the pointwise 95 % limits of precision at the recalls `GRID`, within those that thresholds reach."""
    recall_T, (_, limits_T2) = curve.points.rate("sensitivity")[0][::-1], curve.points.rate("ppv")
    known = np.isfinite(limits_T2[::-1]).all(axis=1) & np.isfinite(recall_T)
    if not known.any():
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    x, ends = recall_T[known], limits_T2[::-1][known].T
    low, high = (np.interp(GRID, x, y, left=np.nan, right=np.nan) for y in ends)
    return low, high
