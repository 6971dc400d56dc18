"""The curves of a detection run: precision against recall, and FROC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.core.coco import read_back
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import HitRule, find_hits
from medtrain.metric.recall import FALSE_POSITIVES, Curve
from medtrain.report.canvas import DRAWN, colour, dot, legend, legible, new_axes, style, tidy
from medtrain.report.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 1 / 32  # false positives an image at the left edge, which a logarithmic axis needs


def boxes_of(run: RunFolder) -> tuple[Truth, PredictedBoxes] | None:
    """Read the true and the predicted boxes of a run; None if it is none of detection."""
    return None if run.detections is None or run.truth is None else read_back(run.detections, run.truth)


def hit_rule(run: RunFolder) -> HitRule:
    """Read by what rule the run has judged its boxes; runs before 0.3 know overlap only."""
    return HitRule("centre" if run.test.get("hit") == "centre" else "iou", float(run.test.get("iou") or 0.5))


def detection_figures(run: RunFolder) -> dict[str, Figure | None]:
    """Draw {name: figure} from the files of a run; none where it is no detection."""
    boxes = boxes_of(run)
    if boxes is None:
        return {}
    truth, predicted = boxes
    hits, everyone = find_hits(truth, predicted, hit_rule(run)), np.zeros(len(truth), np.int64)
    named = [(name, hits.curve(c, everyone, 1)) for c, name in enumerate(run.classes[:DRAWN])]
    drawn = [(name, curve) for name, curve in named if curve.boxes_P[0] > 0]
    if not drawn:
        return {}
    limits = (run.test.get("decision") or {}).get("thresholds") or {}
    return {
        "box_precision_recall": precision_recall(drawn, limits),
        "froc": froc(drawn, len(truth), limits, run.test.get("metrics") or {}),
    }


def precision_recall(curves: list[tuple[str, Curve]], limits: dict[str, float]) -> Figure:
    """Draw the precision at each recall of each class; a dot is the threshold."""
    figure, axes = new_axes()
    for i, (name, curve) in enumerate(curves):
        recall, precision, _ = _points(curve)
        axes.plot(recall, precision, style(i), color=colour(i), label=legible(name))
        if (shown := int((curve.score_K >= limits.get(name, np.inf)).sum())) > 0:
            dot(axes, recall[shown - 1], precision[shown - 1], i)
    tidy(axes, "sensitivity (recall)", "PPV (precision)", unit=True)
    legend(figure, axes, len(curves), "class")
    return figure


def froc(curves: list[tuple[str, Curve]], images: int, limits: dict[str, float], metrics: dict[str, Any]) -> Figure:
    """Draw sensitivity by false positives an image of each class; points with whiskers: the mean and its intervals."""
    figure, axes = new_axes()
    for i, (name, curve) in enumerate(curves):
        recall, _, false = _points(curve)
        rate_K = np.maximum(false / images, LEAST)
        drawn_to = np.append(rate_K, 2 * FALSE_POSITIVES[-1]), np.append(recall, recall[-1:].max(initial=0))
        axes.step(*drawn_to, style(i), where="post", color=colour(i), label=legible(name))
        if (shown := int((curve.score_K >= limits.get(name, np.inf)).sum())) > 0:
            dot(axes, rate_K[shown - 1], recall[shown - 1], i)
    for rate in FALSE_POSITIVES:
        sensitivity = metrics.get(f"froc_{rate:g}") or {}
        if sensitivity.get("ci95"):
            axes.vlines(rate, *sensitivity["ci95"], color="#666666", linewidth=1)
            axes.plot(rate, sensitivity["value"], "_", color="#666666", markersize=8)
    axes.set_xscale("log", base=2)
    tidy(axes, "false positives per image", "sensitivity")
    axes.set_xlim(2 * LEAST, 2 * FALSE_POSITIVES[-1])
    axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(FALSE_POSITIVES, ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    legend(figure, axes, len(curves), "class")
    return figure


def _points(curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute recall, precision and false positives at each hit."""
    true, false, boxes = curve.counts(np.ones((1, 1)))
    return true[:, 0] / boxes[0], true[:, 0] / (true + false)[:, 0], false[:, 0]
