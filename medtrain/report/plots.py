"""The figures of a report, each a function from arrays to a matplotlib Figure, written as plots/*.png."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medtrain.io.files import atomic_path
from medtrain.report.agreement import value_figures
from medtrain.report.benefit import calibration_curve, decision_curve
from medtrain.report.canvas import COLOURS, DRAWN, legible, name_ticks, new_axes, new_figure, tidy, write_png
from medtrain.report.detection import detection_figures
from medtrain.report.discrimination import precision_recall, roc
from medtrain.report.explorer import Curve
from medtrain.report.folder import Predictions, RunFolder
from medtrain.report.reliability import reliability_diagram
from medtrain.report.words import entry, headline, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 30  # classes whose cells of a confusion matrix are written out
SURE_BY = {
    "ensemble": "agreement of the ensemble",
    "mc_dropout": "spread under dropout",
    "confidence": "probability of the prediction",
}


def draw(folder: RunFolder, to: Path, classes: Sequence[Curve]) -> dict[str, Path]:
    """Draw what the folder's files allow into `to`; returns {name: PNG file}."""
    figures: dict[str, Figure | None] = {}
    if folder.history is not None:
        figures["curves"] = curves(folder.history)
    predictions = folder.predictions()
    if predictions is not None and np.isfinite(predictions.target_NC).any():
        figures["roc"] = roc(classes[:DRAWN], predictions)
        figures["precision_recall"] = precision_recall(classes[:DRAWN])
        figures["reliability"] = reliability_diagram(folder, predictions)
        figures["calibration_curve"] = calibration_curve(folder)
        figures["decision_curve"] = decision_curve(folder)
        figures["confusion"] = confusion(predictions, folder.classes, not folder.target.several)
    figures |= detection_figures(folder) | value_figures(folder)
    figures["abstention"] = abstention(folder.test.get("abstention"))
    files = {}
    for name, figure in figures.items():
        if figure is not None:
            files[name] = to / f"{name}.png"
            with atomic_path(files[name]) as temporary:
                write_png(figure, temporary)
    return files


def curves(history: pd.DataFrame) -> Figure | None:
    """Draw loss and validation metric by epoch; None without any of them."""
    from matplotlib.ticker import MaxNLocator

    by = next((c for c in ("epoch", "step") if c in history and history[c].notna().any()), None)
    rows = history.groupby(by).mean() if by else history
    filled = [str(c) for c in rows if rows[c].notna().any()]
    losses = [c for c in ("train_loss", "val_loss") if c in filled]
    metrics = [c for c in filled if c.startswith("val_") and c != "val_loss"]
    metrics = [c for c in metrics if c in ("val_auroc", "val_map50")] or metrics[:4]
    panels = [p for p in (losses, metrics) if p]
    if not panels:
        return None
    figure = new_figure()
    for i, columns in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, i + 1)
        for colour, column in zip(COLOURS, columns, strict=False):
            known = rows[column].dropna()
            axes.plot(known.index, known, color=colour, marker="o", markersize=3, label=legible(column))
        tidy(axes, by or "row" if i == len(panels) - 1 else "", "loss" if columns is losses else "validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
    return figure


def confusion(predictions: Predictions, classes: list[str], exclusive: bool) -> Figure | None:
    """Draw counts at the decision: truth by prediction; of classes that don't exclude each other the four outcomes."""
    target, decided = predictions.target_NC, predictions.predicted_NC
    if not exclusive:
        known = np.isfinite(target) & np.isfinite(decided)
        right, positive = target > 0.5, decided > 0.5
        cells = (right & positive, right & ~positive, ~right & positive, ~right & ~positive)
        table = np.stack([(cell & known).sum(axis=0) for cell in cells], axis=1)
        columns, titles = ["found", "missed", "false alarm", "rightly negative"], ("outcome", "label")
    else:
        known = np.isfinite(target[:, 0]) & np.isfinite(decided[:, 0])
        table = (target[known].T @ decided[known]).astype(int)
        columns, titles = classes, ("prediction", "truth")
    if not table.sum():
        return None
    rows, width = table.shape
    figure, axes = new_axes(max(4.2, min(9.0, 1.5 + 0.3 * rows)))
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(rows, width) if rows <= NAMED else ():
        ink = "white" if share[i, j] > 0.55 else "black"
        size = 11 if max(rows, width) <= 4 else 7
        axes.text(j, i, f"{table[i, j]}", ha="center", va="center", color=ink, fontsize=size)
    name_ticks(axes, columns, classes, crowded=sum(map(len, columns)) > 40)
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    return figure


def abstention(selective: dict[str, Any] | None) -> Figure | None:
    """Draw the headline metric of the cases that are kept, the most certain first."""
    points = [point for point in (selective or {}).get("curve") or [] if point.get("metrics")]
    name = headline(points[-1]["metrics"]) if points else None
    if selective is None or name is None:
        return None
    rows = [(float(point["kept"]), *_ends(point["metrics"].get(name))) for point in points]
    share, value, low, high = np.array(sorted(rows), dtype=float).T
    figure, axes = new_axes()
    axes.fill_between(100 * share, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
    axes.plot(100 * share, value, color=COLOURS[0], marker="o", markersize=3)
    by = SURE_BY.get(str(selective.get("by")), str(selective.get("by")))
    tidy(axes, f"cases kept, % (surest first, by {legible(by)})", label(name))
    return figure


def _ends(result: Any) -> tuple[float, float, float]:
    """Read value, low and high; NaN where there is none."""
    nan = float("nan")
    if not isinstance(result, dict):
        return (nan if entry(result)[0] == "n/a" else float(result), nan, nan)
    low, high = result.get("ci95") or (None, None)
    value, low, high = (nan if x is None else float(x) for x in (result.get("value"), low, high))
    return value, low, high
