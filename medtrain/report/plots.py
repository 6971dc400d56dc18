"""The figures of a report, each a function from arrays to a matplotlib Figure.

Figures are drawn without pyplot: no global state, no display, nothing to close. matplotlib and scikit-learn are
imported with the first figure only, so that printing a table doesn't wait for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medtrain.io.files import atomic_path
from medtrain.metric import auroc, reliability
from medtrain.report.folder import Array, Predictions, RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#666666")  # Okabe & Ito
DRAWN = 16  # curves in one figure; more can't be told apart
NAMED = 30  # classes whose cells of a confusion matrix are written out


def draw(folder: RunFolder, to: Path) -> dict[str, Path]:
    """Draw what the folder's files allow into `to`; {name: PNG file}."""
    figures: dict[str, Figure | None] = {}
    if folder.history is not None:
        figures["curves"] = curves(folder.history)
    predictions = folder.predictions()
    if predictions is not None and np.isfinite(predictions.target_NC).any():
        kind, classes = folder.kind, folder.classes
        figures["roc"] = roc(predictions, classes, kind)
        figures["precision_recall"] = precision_recall(predictions, classes, kind)
        figures["reliability"] = reliability_diagram(predictions, kind)
        figures["confusion"] = confusion(predictions, classes, kind)
    files = {}
    for name, figure in figures.items():
        if figure is not None:
            files[name] = to / f"{name}.png"
            with atomic_path(files[name]) as temporary:
                figure.savefig(temporary, format="png", dpi=130)
    return files


def curves(history: pd.DataFrame) -> Figure | None:
    """Loss and validation metric by epoch; None without any of them."""
    from matplotlib.ticker import MaxNLocator

    by = next((c for c in ("epoch", "step") if c in history and history[c].notna().any()), None)
    rows = history.groupby(by).mean() if by else history
    filled = [str(c) for c in rows if rows[c].notna().any()]
    losses = [c for c in ("train_loss", "val_loss") if c in filled]
    metrics = [c for c in filled if c.startswith("val_") and c != "val_loss"]
    metrics = [c for c in metrics if c == "val_auroc"] or metrics[:4]
    panels = [p for p in (losses, metrics) if p]
    if not panels:
        return None
    figure = _figure()
    for i, columns in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, i + 1)
        for colour, column in zip(COLOURS, columns, strict=False):
            known = rows[column].dropna()
            axes.plot(known.index, known, color=colour, marker="o", markersize=3, label=_legible(column))
        _tidy(axes, by or "row" if i == len(panels) - 1 else "", "loss" if columns is losses else "validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8)
    return figure


def roc(predictions: Predictions, classes: list[str], kind: str) -> Figure | None:
    """ROC curve of each class against the rest; of a binary problem, the positive class with its decision."""
    from sklearn.metrics import roc_curve

    figure = _figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--")
    drawn = 0
    for c, colour, target, score, predicted in _columns(predictions, classes, kind):
        if 0 < target.sum() < len(target):
            fpr, tpr, _ = roc_curve(target, score)
            axes.plot(
                fpr, tpr, color=colour, linestyle=_style(c), label=f"{_legible(classes[c])}  {auroc(score, target):.3f}"
            )
            if np.isfinite(predicted).all():
                x, y = predicted[target == 0].mean(), predicted[target == 1].mean()
                axes.plot(x, y, "o", color=colour, markersize=6, markeredgecolor="white")
            drawn += 1
    _tidy(axes, "1 - specificity", "sensitivity", unit=True)
    return _with_legend(figure, axes, drawn, "AUROC")


def precision_recall(predictions: Predictions, classes: list[str], kind: str) -> Figure | None:
    """Precision against recall, with the prevalence as the level of chance."""
    from sklearn.metrics import precision_recall_curve

    figure = _figure()
    axes = figure.add_subplot()
    drawn = 0
    for c, colour, target, score, _ in _columns(predictions, classes, kind):
        if target.sum() > 0:
            precision, recall, _ = precision_recall_curve(target, score)
            style = _style(c)
            axes.plot(recall, precision, style, color=colour, drawstyle="steps-post", label=_legible(classes[c]))
            axes.axhline(target.mean(), color=colour, linewidth=0.7, linestyle=":")
            drawn += 1
    _tidy(axes, "sensitivity (recall)", "PPV (precision)", unit=True)
    return _with_legend(figure, axes, drawn, "class")


def reliability_diagram(predictions: Predictions, kind: str) -> Figure | None:
    """Observed share against predicted probability in equal-mass bins (see `reliability_of` for whose)."""
    probs, observed = reliability_of(predictions, kind)
    if not len(probs):
        return None
    predicted, share, _ = reliability(probs, observed)
    figure = _figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--")
    axes.plot(predicted, share, color=COLOURS[0], marker="o", markersize=4)
    _tidy(axes, "predicted probability", "observed share", unit=True)
    return figure


def reliability_of(predictions: Predictions, kind: str) -> tuple[Array, Array]:
    """Probabilities and outcomes: the positive class (binary), the most likely class, or all labels pooled."""
    probs, target = predictions.probs_NC, predictions.target_NC
    if kind == "multilabel":
        known = np.isfinite(target)
        return probs[known], target[known]
    known = np.isfinite(target[:, 0])
    probs, target = probs[known], target[known]
    if kind == "binary":
        return probs[:, -1], target[:, -1]
    top = probs.argmax(axis=1) if probs.size else np.zeros(0, dtype=int)
    rows = np.arange(len(top))
    return probs[rows, top], target[rows, top]


def confusion(predictions: Predictions, classes: list[str], kind: str) -> Figure | None:
    """Counts at the decision: truth by prediction; for a multilabel problem the four outcomes of each label."""
    target, predicted = predictions.target_NC, predictions.predicted_NC
    if kind == "multilabel":
        known = np.isfinite(target) & np.isfinite(predicted)
        right, said = target > 0.5, predicted > 0.5
        cells = (right & said, right & ~said, ~right & said, ~right & ~said)
        table = np.stack([(cell & known).sum(axis=0) for cell in cells], axis=1)
        columns, titles = ["found", "missed", "false alarm", "rightly negative"], ("outcome", "label")
    else:
        known = np.isfinite(target[:, 0]) & np.isfinite(predicted[:, 0])
        table = (target[known].T @ predicted[known]).astype(int)
        columns, titles = classes, ("prediction", "truth")
    if not table.sum():
        return None
    rows, width = table.shape
    figure = _figure(max(4.2, min(9.0, 1.5 + 0.3 * rows)))
    axes = figure.add_subplot()
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.ndindex(rows, width) if rows <= NAMED else ():
        ink = "white" if share[i, j] > 0.55 else "black"
        size = 11 if max(rows, width) <= 4 else 7
        axes.text(j, i, f"{table[i, j]}", ha="center", va="center", color=ink, fontsize=size)
    crowded = sum(map(len, columns)) > 40
    _name_ticks(axes, columns, classes, crowded)
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    return figure


def _columns(predictions: Predictions, classes: list[str], kind: str) -> list[tuple[int, str, Array, Array, Array]]:
    """(class, colour, target, score, predicted) of the classes to draw, known labels only."""
    shown = [len(classes) - 1] if kind == "binary" else list(range(len(classes)))[:DRAWN]
    out = []
    for i, c in enumerate(shown):
        known = np.isfinite(predictions.target_NC[:, c])
        arrays = (a[known, c] for a in (predictions.target_NC, predictions.probs_NC, predictions.predicted_NC))
        target, score, predicted = arrays
        out.append((c, COLOURS[i % len(COLOURS)], target, score, predicted))
    return out


def _style(c: int) -> str:
    """Line styles tell apart what shares a colour."""
    return "-" if c < len(COLOURS) else "--"


def _figure(height: float = 4.2) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Axes, x: str, y: str, unit: bool = False) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    if unit:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)


def _with_legend(figure: Figure, axes: Axes, drawn: int, title: str) -> Figure | None:
    if not drawn:
        return None
    if drawn <= 5:
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8)
    else:
        figure.set_figheight(4.2 + 0.18 * (drawn + 1) // 2)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=7, title=title, title_fontsize=8)
    return figure


def _name_ticks(axes: Axes, columns: list[str], rows: list[str], crowded: bool) -> None:
    size = 8 if max(len(columns), len(rows)) <= 20 else 5
    turned = 40 if crowded else 0
    axes.set_xticks(range(len(columns)), [_legible(c) for c in columns], fontsize=size, rotation=turned)
    if crowded:
        for tick in axes.get_xticklabels():
            tick.set_horizontalalignment("right")
    axes.set_yticks(range(len(rows)), [_legible(c) for c in rows], fontsize=size)


def _legible(name: str) -> str:
    """A name as matplotlib shows it: no mathematics from a $, not hidden by a leading _, not endless."""
    short = name if len(name) <= 26 else name[:25] + "…"
    return (" " if short.startswith("_") else "") + short.replace("\\", "\\\\").replace("$", r"\$")
