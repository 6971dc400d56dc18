"""The figures of a search: history, importance, parallel coordinates, slices, the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtrain.report.canvas import COLOURS, FAINT, legible, new_axes, new_figure, tidy
from medtrain.report.words import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 8  # parameters in one figure; of more, the first
Facts = Mapping[str, Any]
Drawn = tuple[str, str, "Figure"]


def all_of(facts: Facts) -> dict[str, Drawn]:
    """Draw what there is: {name: (heading, caption, figure)}."""
    if not any(trial["state"] == "finished" for trial in facts["trials"]):
        return {}
    if len(facts["objectives"]) > 1:
        return {"front": _front(facts)}
    drawn = {"history": _history(facts)}
    if facts["importance"]["shares"]:
        drawn["importance"] = _importance(facts)
    keys = _keys(facts)
    if len(keys) > 1:
        drawn["parallel"] = _parallel(facts, keys)
    drawn["slices"] = _slices(facts, keys)
    return drawn


def _history(facts: Facts) -> Drawn:
    figure, axes = new_axes()
    name, mode = facts["objectives"][0]
    number, value = _column(facts)
    axes.plot(number, value, "o", color=COLOURS[0], markersize=4, label="finished")
    best = (np.maximum if mode == "max" else np.minimum).accumulate(value)
    axes.step(number, best, where="post", color=COLOURS[1], label="best so far")
    cut = [t for t in facts["trials"] if t["state"] == "pruned" and t["epochs"]]
    if cut:
        last = [t["epochs"][max(t["epochs"], key=int)] for t in cut]
        axes.plot([t["number"] for t in cut], last, "x", color=FAINT, label="pruned, when it was")
    if facts["default"]["values"]:
        axes.axhline(facts["default"]["values"][0], color=COLOURS[2], linestyle="--", linewidth=1, label="default")
    tidy(axes, "trial", _label(name))
    _whole(axes)
    axes.legend(frameon=False, fontsize=8)
    failed = facts["counts"]["failed"]
    return "History", f"Each trial, and the best so far. {failed} failed." if failed else "Each trial.", figure


def _importance(facts: Facts) -> Drawn:
    shares = dict(list(facts["importance"]["shares"].items())[:MOST])
    figure, axes = new_axes(1.2 + 0.35 * len(shares))
    names = list(shares)[::-1]
    axes.barh(range(len(names)), [shares[name] for name in names], color=COLOURS[0])
    axes.set_yticks(range(len(names)), [legible(name) for name in names], fontsize=8)
    tidy(axes, "share", "")
    text = "What sets the best tenth of the finished trials apart (PED-ANOVA, Watanabe and others 2023)."
    return "Importance", text, figure


def _parallel(facts: Facts, keys: Sequence[str]) -> Drawn:
    figure, axes = new_axes()
    name, mode = facts["objectives"][0]
    _, value = _column(facts)
    places = [_places(facts, key) for key in keys]
    scaled = (value - value.min()) / (np.ptp(value) or 1.0)
    order = np.argsort(scaled if mode == "max" else -scaled)
    from matplotlib import colormaps

    colours = colormaps["viridis"]((scaled if mode == "max" else 1 - scaled) * 0.9)
    for n in order.tolist():
        line = [place[0][n] for place in places] + [scaled[n]]
        axes.plot(range(len(line)), line, color=colours[n], linewidth=1, alpha=0.8, marker="o", markersize=2.5)
    names = [*(legible(key) for key in keys), legible(_label(name))]
    axes.set_xticks(range(len(names)), names, fontsize=7, rotation=25, ha="right")
    for x, (_, low, high) in enumerate([*places, (None, f"{value.min():.3g}", f"{value.max():.3g}")]):
        axes.annotate(legible(low), (x, -0.02), ha="center", va="top", fontsize=6)
        axes.annotate(legible(high), (x, 1.02), ha="center", va="bottom", fontsize=6)
        axes.axvline(x, color="#dddddd", linewidth=0.8, zorder=0)
    axes.set_ylim(-0.1, 1.1)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    more = f" The first {MOST} parameters." if len(facts["trials"][0]["params"]) > MOST else ""
    return "Parallel coordinates", f"A line a finished trial; the brighter, the better.{more}", figure


def _slices(facts: Facts, keys: Sequence[str]) -> Drawn:
    rows = (len(keys) + 1) // 2
    figure = new_figure(max(2.6, 2.3 * rows))
    number, value = _column(facts)
    best = int((np.argmax if facts["objectives"][0][1] == "max" else np.argmin)(value))
    for n, key in enumerate(keys):
        axes = figure.add_subplot(rows, 1 if len(keys) == 1 else 2, n + 1)
        x, log, names = _axis(facts, key)
        axes.scatter(x, value, c=number, cmap="Blues", vmin=-len(number), s=14, edgecolors="none")
        axes.plot(x[best], value[best], "o", color=COLOURS[1], markersize=5)
        if log:
            axes.set_xscale("log")
        if names:
            axes.set_xticks(range(len(names)), [legible(text)[:12] for text in names], fontsize=6, rotation=20)
        tidy(axes, legible(key), "")
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_fontsize(8)
    return "Slices", "The objective by each parameter; later trials are darker, the best is orange.", figure


def _front(facts: Facts) -> Drawn:
    figure, axes = new_axes()
    done = [t for t in facts["trials"] if t["state"] == "finished"]
    for colour, there, text in ((FAINT, False, "beaten by another"), (COLOURS[1], True, "Pareto front")):
        own = [t["values"] for t in done if (t["number"] in facts["front"]) is there]
        if own:
            axes.plot([v[0] for v in own], [v[1] for v in own], "o", color=colour, markersize=5, label=text)
    for t in done:
        if t["number"] in facts["front"]:
            axes.annotate(str(t["number"]), t["values"][:2], fontsize=7, xytext=(4, 3), textcoords="offset points")
    if len(facts["default"]["values"]) > 1:
        axes.plot(*facts["default"]["values"][:2], "s", color=COLOURS[2], markersize=5, label="default")
    across, up = (f"{_label(name)} ({mode})" for name, mode in facts["objectives"][:2])
    tidy(axes, across, up)
    axes.legend(frameon=False, fontsize=8)
    more = " The first two of the objectives." if len(facts["objectives"]) > 2 else ""
    return "Pareto front", f"A dot a finished trial.{more}", figure


def _column(facts: Facts) -> tuple[np.ndarray, np.ndarray]:
    """Give the numbers and values of the finished trials."""
    done = [t for t in facts["trials"] if t["state"] == "finished"]
    return np.array([t["number"] for t in done]), np.array([t["values"][0] for t in done], float)


def _keys(facts: Facts) -> list[str]:
    """List the parameters of the finished trials, the most important first."""
    done = [t for t in facts["trials"] if t["state"] == "finished"]
    named = list(facts["importance"]["shares"])
    named += [key for t in done for key in t["params"] if key not in named]
    return list(dict.fromkeys(named))[:MOST]


def _axis(facts: Facts, key: str) -> tuple[np.ndarray, bool, list[str]]:
    """Give a parameter of the finished trials as numbers, whether evenly in their logarithm, and names of categories.

    What a trial doesn't have is NaN.
    """
    raw = [t["params"].get(key) for t in facts["trials"] if t["state"] == "finished"]
    there = [value for value in raw if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        x = np.array([np.nan if value is None else float(value) for value in raw])
        low, high = np.nanmin(x), np.nanmax(x)
        return x, bool(low > 0 and high / low > 50), []
    names = sorted({str(value) for value in there})
    return np.array([np.nan if value is None else names.index(str(value)) for value in raw], float), False, names


def _places(facts: Facts, key: str) -> tuple[np.ndarray, str, str]:
    """Give a parameter's places from 0 to 1, and what stands at both ends."""
    x, log, names = _axis(facts, key)
    y = np.log(x) if log else x
    low, high = np.nanmin(y), np.nanmax(y)
    ends = (names[0], names[-1]) if names else (f"{np.nanmin(x):.3g}", f"{np.nanmax(x):.3g}")
    return (y - low) / ((high - low) or 1.0), *ends


def _label(name: str) -> str:
    return f"validation {label(name.removeprefix('val_'))}"


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
