"""Figures of quantities: predicted against true, Bland and Altman's, the error by range, and predicted intervals."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.metric import Measurements
from medtrain.report.canvas import COLOURS, new_figure, tidy
from medtrain.report.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWN = 4  # quantities
RANGES = 5  # of the truth, with equal numbers of cases
FEWEST = 10  # cases for ranges


def value_figures(run: RunFolder) -> dict[str, Figure | None]:
    """Draw what the prediction table of quantities allows: {name: figure}; {} of other runs."""
    read = run.measurements()
    if read is None or not np.isfinite(read[0].target_NV).any():
        return {}
    cases, unit = read[0], str(getattr(run.target, "unit", "") or "")
    results = run.test.get("per_class") or {}
    return {
        "predicted_true": _panels(cases, unit, _predicted_true),
        "bland_altman": _panels(cases, unit, partial(_bland_altman, results=results)),
        "error_by_range": _panels(cases, unit, _error_by_range),
        "predicted_intervals": _intervals(run.test.get("intervals") or {}),
    }


def _panels(cases: Measurements, unit: str, draw: Any) -> Figure | None:
    """Draw a panel a quantity, one below the other."""
    shown = [
        (name, np.isfinite(cases.target_NV[:, v]), v)
        for v, name in enumerate(cases.names)
        if np.isfinite(cases.target_NV[:, v]).sum() > 1
    ][:DRAWN]
    if not shown:
        return None
    figure = new_figure(4.2 * len(shown))
    for place, (name, known, v) in enumerate(shown, start=1):
        axes = figure.add_subplot(len(shown), 1, place)
        draw(axes, f"{name}{f' ({unit})' * bool(unit)}", cases.predicted_NV[known, v], cases.target_NV[known, v])
    return figure


def _predicted_true(axes: Axes, name: str, predicted: Any, truth: Any) -> None:
    ends = min(predicted.min(), truth.min()), max(predicted.max(), truth.max())
    axes.plot(ends, ends, color="0.6", linestyle="--", linewidth=1)
    axes.scatter(truth, predicted, s=10, alpha=0.5, color=COLOURS[0], linewidths=0)
    tidy(axes, f"true {name}", "predicted")


def _bland_altman(axes: Axes, name: str, predicted: Any, truth: Any, results: dict[str, Any]) -> None:
    axes.scatter((predicted + truth) / 2, predicted - truth, s=10, alpha=0.5, color=COLOURS[0], linewidths=0)
    own: dict[str, Any] = next((entries for quantity, entries in results.items() if name.startswith(quantity)), {})
    for metric, style in (("bias", "-"), ("loa_low", "--"), ("loa_high", "--")):
        entry = own.get(metric) or {}
        if entry.get("value") is None:
            continue
        axes.axhline(entry["value"], color=COLOURS[1], linestyle=style, linewidth=1)
        if entry.get("ci95"):
            axes.axhspan(*entry["ci95"], color=COLOURS[1], alpha=0.12, linewidth=0)
    tidy(axes, f"mean of predicted and true {name}", "predicted minus true")


def _error_by_range(axes: Axes, name: str, predicted: Any, truth: Any) -> None:
    ranges = RANGES if len(truth) >= FEWEST * RANGES else max(1, len(truth) // FEWEST)
    edges = np.unique(np.quantile(truth, np.linspace(0, 1, ranges + 1)))
    part = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, max(0, len(edges) - 2))
    groups = [predicted[part == n] - truth[part == n] for n in range(max(1, len(edges) - 1))]
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)] or [f"{edges[0]:.3g}"]
    pairs = [(group, f"{text}\n{len(group)} cases") for group, text in zip(groups, names, strict=True) if len(group)]
    axes.boxplot([group for group, _ in pairs], showfliers=False)
    axes.set_xticks(range(1, len(pairs) + 1), [text for _, text in pairs], fontsize=8)
    axes.axhline(0, color="0.6", linestyle="--", linewidth=1)
    tidy(axes, f"true {name}", "predicted minus true")


def _intervals(intervals: dict[str, Any]) -> Figure | None:
    if not intervals:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", linewidth=1)
    for colour, (name, rows) in zip(COLOURS, intervals.items(), strict=False):
        pairs = [(row["level"], row["covered"]) for row in rows if row["covered"] is not None]
        axes.plot(*zip(*pairs, strict=True), color=colour, marker="o", markersize=4, label=name) if pairs else None
    tidy(axes, "level of the predicted interval", "share of the truths within", unit=True)
    axes.legend(frameon=False, fontsize=8)
    return figure
