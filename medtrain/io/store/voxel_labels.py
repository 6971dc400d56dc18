"""Labels of a mask made ready to be kept: whole numbers, however a tool has written them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.volume import Volume, VolumeError

MOST = 65535  # the largest label; FreeSurfer's go to 14,175
ROUNDING = 0.02
"""Off a whole number by which a label may be: a tool that scales labels up to 2,035 into 16 bits is 0.016 off."""


def as_labels(volume: Volume) -> Volume:
    """Make labels of a mask's voxels, uint8 or, beyond 255, uint16; 0 is background.

    Raises:
        VolumeError: several channels, or voxels that are no labels, with their number.
    """
    x_CDHW = volume.x_CDHW
    if len(x_CDHW) > 1:
        raise VolumeError(f"a mask of {len(x_CDHW)} channels, not one")
    labels: NDArray[Any] = np.empty(x_CDHW.shape, np.uint8 if x_CDHW.max() < 255.5 else np.uint16)
    wrong, off = 0, 0.0
    for plane, out in zip(x_CDHW[0], labels[0], strict=True):
        whole, bad = _rounded(plane)
        wrong += int(np.count_nonzero(bad))
        if not wrong:
            off = max(off, float(np.abs(plane - whole).max(initial=0))) if plane.dtype.kind == "f" else off
            out[:] = whole
    if wrong:
        low, high = float(x_CDHW.min()), float(x_CDHW.max())
        raise VolumeError(
            f"a mask of which {wrong:,} of {x_CDHW.size:,} voxels are no labels, whole numbers from 0 to {MOST:,} "
            f"(its values run from {low:.6g} to {high:.6g}); of probabilities, save those above 0.5 as 1"
        )
    notes = dict(volume.notes)
    if off:
        notes |= {"rounded_labels": f"labels that are up to {off:.2g} off whole numbers were rounded to them"}
    return replace(volume, x_CDHW=labels, notes=notes)


def _rounded(plane: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Round voxels, and tell which are no labels; NaN is none."""
    if plane.dtype.kind != "f":
        return plane, (plane < 0) | (plane > MOST)
    whole = np.rint(plane)
    return whole, ~((np.abs(plane - whole) <= ROUNDING) & (whole >= 0) & (whole <= MOST))
