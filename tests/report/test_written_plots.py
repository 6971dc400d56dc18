"""Plots are written as `savefig` would write them, at less cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medtrain.report.canvas import legend, new_axes, tidy, write_png


def figure(curves: int):
    made, axes = new_axes()
    for i in range(curves):
        axes.plot([0, 1], [i, 2 * i], label=f"a class of a long name, number {i}")
    tidy(axes, "false positive rate", "a label\nof two lines", unit=curves == 1)
    legend(made, axes, curves, "a title")
    return made


def test_a_plot_laid_out_once_has_the_same_pixels(tmp_path: Path) -> None:
    for curves in (1, 3, 9):  # with 9 the legend lies below the axes, which make room for it
        write_png(figure(curves), tmp_path / "once.png")
        figure(curves).savefig(tmp_path / "twice.png", format="png", dpi=150)
        once, twice = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("once", "twice"))
        assert once.std() > 0 and np.array_equal(once, twice)
