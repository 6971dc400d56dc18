"""Times to an event in the report: survival of the risk groups, calibration at horizons, metrics by horizon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.io.files import atomic_path
from medtrain.report.canvas import colour, diagonal, legend, new_axes, tidy, write_png
from medtrain.report.figures import Plot
from medtrain.report.folder import RunFolder
from medtrain.report.html import data_uri
from medtrain.report.views import Cell, Gallery, Note, Section, Table, part, section, table
from medtrain.report.words import label, number, with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ("auroc", "brier")


@section(forms={"times"})
def survival(run: RunFolder) -> Section | None:
    """Draw Kaplan-Meier curves of the risk groups, calibration at the horizons, and their metrics."""
    groups: dict[str, Any] = run.test.get("risk_groups") or {}
    at_horizons: dict[str, Any] = (run.test.get("calibration") or {}).get("horizons") or {}
    if not groups:
        return None
    unit = str(run.test.get("unit") or "")
    drawn = {"kaplan_meier": kaplan_meier(groups, unit), "calibration_at_horizons": calibration(at_horizons, unit)}
    shown = tuple(_plot(run, name, figure, groups) for name, figure in drawn.items())
    return part(
        "survival",
        "Survival",
        Gallery("figures.html.j2", shown),
        _at_risk(groups, unit),
        _by_horizon(run, at_horizons, unit),
        Note(_cutoff(run, groups)),
        Note(
            "AUROC at a horizon compares cases with an event before it with cases followed beyond it. It and the Brier "
            "score make up for cases censored before by the chance of being still followed (inverse probability)."
        ),
    )


def kaplan_meier(groups: dict[str, Any], unit: str) -> Figure:
    """Draw the survival of each group as steps, with 95 % intervals point by point."""
    figure, axes = new_axes()
    for i, (name, group) in enumerate(groups["groups"].items()):
        if not group["n"]:
            continue
        times = [0.0, *group["times"]]
        axes.step(times, [1.0, *group["survival"]], where="post", color=colour(i), label=f"{name} risk")
        low, high = (np.array([1.0, *group[side]], dtype=float) for side in ("low", "high"))
        axes.fill_between(times, low, high, step="post", color=colour(i), alpha=0.15, linewidth=0)
    tidy(axes, _time(unit), "share without the event")
    axes.set_ylim(0, 1.02)
    legend(figure, axes, 2, "risk group")
    return figure


def calibration(at_horizons: dict[str, Any], unit: str) -> Figure:
    """Draw observed against predicted chances of the event, a line a horizon, whiskers of 95 %."""
    figure, axes = new_axes()
    diagonal(axes)
    for i, (name, entry) in enumerate(at_horizons.items()):
        rows = [row for row in entry["bins"] if row["observed"] is not None]
        predicted, observed = (np.array([row[key] for row in rows], dtype=float) for key in ("predicted", "observed"))
        axes.plot(predicted, observed, color=colour(i), marker="o", markersize=4, label=f"{name} {unit}".strip())
        ends = np.array([row["ci95"] or (np.nan, np.nan) for row in rows], dtype=float).reshape(-1, 2).T
        axes.vlines(predicted, *ends, color=colour(i), linewidth=1.1, alpha=0.6)
    tidy(axes, "predicted chance of the event", "observed (Kaplan-Meier)", unit=True)
    legend(figure, axes, len(at_horizons), "by")
    return figure


def _time(unit: str) -> str:
    return f"time ({unit})" if unit else "time"


def _plot(run: RunFolder, name: str, figure: Figure, groups: dict[str, Any]) -> Plot:
    file: Path = run.path / "plots" / f"{name}.png"
    with atomic_path(file) as temporary:
        write_png(figure, temporary)
    heading, text = "Calibration at horizons", "Groups of equal size by prediction; on the dashed line it came true."
    if name == "kaplan_meier":
        heading, text = "Kaplan-Meier", f"Bands are 95 % intervals, point by point. {_tested(groups)}"
    return Plot(data_uri(file), f"{heading}: {text}", heading, text)


def _tested(groups: dict[str, Any]) -> str:
    test = groups["log_rank"]
    if test is None:
        return "The groups can't be tested: there is one, or no event tells them apart."
    p = "p < 0.0001" if test["p"] < 1e-4 else f"p = {test['p']:.4f}"
    return f"Log-rank: chi-squared {test['chi2']:.2f}, {p}."


def _at_risk(groups: dict[str, Any], unit: str) -> Table | None:
    """Tabulate cases, events and median survival of the groups, and the numbers at risk."""
    header = ["Risk", "Cases", "Events", f"Median {_time(unit)}", *(f"at {tick:.3g}" for tick in groups["ticks"])]
    rows = []
    for name, group in groups["groups"].items():
        median = "not reached" if group["median"] is None else f"{group['median']:.4g}"
        counts = [str(group["n"]), str(group["n_events"]), median, *map(str, group["at_risk"])]
        rows.append((name, [Cell(text) for text in counts]))
    return table(header, rows, "names", "Risk groups and numbers at risk", heading="Numbers at risk")


def _by_horizon(run: RunFolder, at_horizons: dict[str, Any], unit: str) -> Table | None:
    rows = []
    for name, entries in (run.test.get("per_class") or {}).items():
        seen = at_horizons.get(name) or {}
        cells = [Cell(*with_interval(entries.get(metric))) for metric in METRICS]
        chances = [Cell(number(seen.get("predicted"))), Cell(*with_interval(_entry(seen)))]
        rows.append((f"{name} {unit}".strip(), cells + chances))
    header = ["By", *map(label, METRICS), "Predicted events", "Observed (Kaplan-Meier)"]
    return table(header, rows, "names", "Metrics by horizon", heading="By horizon")


def _entry(seen: dict[str, Any]) -> dict[str, Any]:
    return {"value": seen.get("observed"), "ci95": seen.get("ci95")}


def _cutoff(run: RunFolder, groups: dict[str, Any]) -> str:
    decision = run.test.get("decision") or {}
    if groups.get("cutoff") is None:
        return "Each fold had a cut-off of its own, fitted on its validation cases."
    policy = decision.get("policy")
    how = "the best of many by log-rank" if policy == "best" else f"the {number(policy)} quantile of the risks"
    basis = decision.get("basis") or "validation data"
    return f"A case is of high risk from {number(groups['cutoff'])} on (a logarithm), {how} on {basis}."
