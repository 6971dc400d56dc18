"""ROC and precision-recall curves with bands over patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medtrain.metric import auroc
from medtrain.metric.binary import ppv, sensitivity, specificity
from medtrain.metric.operating import span
from medtrain.report.canvas import BANDS, colour, diagonal, dot, legend, legible, new_axes, style, tidy
from medtrain.report.explorer import Curve
from medtrain.report.folder import Array, Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRID = np.linspace(0, 1, 101)


def roc(curves: Sequence[Curve], predictions: Predictions) -> Figure | None:
    """Draw the ROC curve of each class against the rest; of a binary problem the positive class. Dots: the decision."""
    from sklearn.metrics import roc_curve

    if not curves:
        return None
    figure, axes = new_axes()
    diagonal(axes)
    for i, curve in enumerate(curves):
        fpr, tpr, _ = roc_curve(curve.target, curve.score)
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
    from sklearn.metrics import precision_recall_curve

    if not curves:
        return None
    figure, axes = new_axes()
    for i, curve in enumerate(curves):
        precision, recall, _ = precision_recall_curve(curve.target, curve.score)
        axes.plot(recall, precision, style(i), color=colour(i), drawstyle="steps-post", label=legible(curve.name))
        axes.axhline(curve.target.mean(), color=colour(i), linewidth=0.7, linestyle=":")
        if len(curves) <= BANDS:
            low, high = precision_band(curve)
            axes.fill_between(GRID, low, high, color=colour(i), alpha=0.15, linewidth=0)
    tidy(axes, "sensitivity (recall)", "PPV (precision)", unit=True)
    legend(figure, axes, len(curves), "class")
    return figure


def roc_band(curve: Curve) -> tuple[Array, Array]:
    """Compute the pointwise 95 % band of sensitivity at the rates `GRID` of false positives, over the replicates."""
    counts = np.moveaxis(curve.points.replicates_RT4[:, ::-1], -1, 0)  # descending thresholds: rising rates
    fpr_RT, tpr_RT = 1 - specificity(*counts), sensitivity(*counts)
    whole = np.isfinite(fpr_RT).all(axis=1) & np.isfinite(tpr_RT).all(axis=1)  # both classes were drawn
    rows = zip(fpr_RT[whole], tpr_RT[whole], strict=True)
    return _band([np.interp(GRID, [0, *x, 1], [0, *y, 1]) for x, y in rows])


def precision_band(curve: Curve) -> tuple[Array, Array]:
    """Compute the pointwise 95 % band of precision at the recalls `GRID`, where a replicate reaches them."""
    counts = np.moveaxis(curve.points.replicates_RT4[:, ::-1], -1, 0)
    recall_RT, precision_RT = sensitivity(*counts), ppv(*counts)
    rows = []
    for recall, precision in zip(recall_RT, precision_RT, strict=True):
        known = np.isfinite(recall) & np.isfinite(precision)
        x, y = recall[known], precision[known]
        rows.append(np.interp(GRID, x, y, left=np.nan, right=np.nan) if len(x) else np.full(len(GRID), np.nan))
    return _band(rows)


def _band(rows: list[Array]) -> tuple[Array, Array]:
    if not rows:
        return np.full(len(GRID), np.nan), np.full(len(GRID), np.nan)
    low, high = span(np.array(rows)).T
    return low, high
