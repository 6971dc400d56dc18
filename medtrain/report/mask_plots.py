"""Figures of a segmentation: Dice by class, and predicted volumes beside the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.words import plain_text
from medtrain.io.files import atomic_path
from medtrain.report.canvas import colour, new_axes, tidy, write_png
from medtrain.report.figures import Plot
from medtrain.report.folder import RunFolder
from medtrain.report.html import data_uri
from medtrain.report.mask_pictures import DICE, columns_of
from medtrain.report.views import Gallery, Section, part, section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VOLUME, TRUE_VOLUME = "volume_ml_", "true_volume_ml_"
LIMITS = 1.96  # standard deviations of the differences: the limits of agreement
DRAWN = 12  # classes in one figure


@section(forms={"masks"})
def mask_figures(run: RunFolder) -> Section | None:
    """Draw Dice by class, and volume by volume, from the table of predictions."""
    if run.table is None or not run.classes or DICE + run.classes[0] not in run.table:
        return None
    classes = run.classes[:DRAWN]
    more = f" Drawn are the first {DRAWN} of {len(run.classes)} classes." * (len(run.classes) > DRAWN)
    dice_NC = columns_of(run.table, DICE, classes)
    volume_NC, true_NC = (columns_of(run.table, prefix, classes) for prefix in (VOLUME, TRUE_VOLUME))
    plots = [
        _plot(
            run, "dice", dice_by_class(dice_NC, classes), "Dice by class", "A dot a case; the bar is the median." + more
        ),
        _plot(
            run,
            "volumes",
            volumes_compared(volume_NC, true_NC, classes),
            "Volume by volume",
            "The difference of predicted and true volume by their mean (Bland and Altman, Lancet 1986), a dot a case; "
            f"lines are each class's mean difference (solid) and {LIMITS} standard deviations about it (dashed)."
            + more,
        ),
    ]
    return part("masks", "Masks", None, Gallery("figures.html.j2", tuple(plots)))


def _plot(run: RunFolder, name: str, figure: Figure, heading: str, text: str) -> Plot:
    file = Path(run.path / "plots" / f"{name}.png")
    with atomic_path(file) as temporary:
        write_png(figure, temporary)
    return Plot(data_uri(file), f"{heading}: {text}", heading, text)


def dice_by_class(dice_NC: NDArray[Any], classes: Sequence[str]) -> Figure:
    """Draw the Dice of all cases, class beside class; NaN is left out."""
    figure, axes = new_axes()
    for number, name in enumerate(classes):
        own = dice_NC[:, number][np.isfinite(dice_NC[:, number])]
        spread = np.linspace(-0.25, 0.25, len(own)) if len(own) > 1 else np.zeros(len(own))
        axes.plot(number + spread, own, ".", color=colour(number), markersize=4, alpha=0.7, label=plain_text(name))
        if len(own):
            axes.hlines(np.median(own), number - 0.35, number + 0.35, color=colour(number), linewidth=2)
    axes.set_xticks(range(len(classes)), [plain_text(name) for name in classes], rotation=30, ha="right")
    tidy(axes, "", "Dice")
    axes.set_ylim(-0.02, 1.02)
    return figure


def agreement(volume_N: NDArray[Any], true_N: NDArray[Any]) -> tuple[float, float, float]:
    """Compute the mean difference of volumes and the limits of agreement; NaN with fewer than two cases."""
    known = np.isfinite(volume_N) & np.isfinite(true_N)
    difference = (volume_N - true_N)[known]
    if len(difference) < 2:
        return float("nan"), float("nan"), float("nan")
    mean, off = float(difference.mean()), LIMITS * float(difference.std(ddof=1))
    return mean, mean - off, mean + off


def volumes_compared(volume_NC: NDArray[Any], true_NC: NDArray[Any], classes: Sequence[str]) -> Figure:
    """Draw the difference of volumes in ml by their mean, with limits of agreement."""
    figure, axes = new_axes()
    for number, name in enumerate(classes):
        volume, true = volume_NC[:, number], true_NC[:, number]
        axes.plot((volume + true) / 2, volume - true, ".", color=colour(number), markersize=5, label=plain_text(name))
        mean, low, high = agreement(volume, true)
        for value, style in ((mean, "-"), (low, "--"), (high, "--")):
            if np.isfinite(value):
                axes.axhline(value, color=colour(number), linewidth=0.9, linestyle=style)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes, "mean of predicted and true volume (ml)", "predicted - true (ml)")
    return figure
