"""Slices of a volume: one for a person to look at, three to know it again by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.streams import stream
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patch_places import around
from medtrain.data.batches.patches import Case, Visit

SIDE = 32  # pixels of a section
THICK = 16  # a slab is that part of an axis


def middle_slice(case: Case, form: PatchForm) -> NDArray[Any]:
    """Draw (1, H, W) uint8, front above and the patient's right on the left, as radiologists look at slices from below.

    It is that of the patch in the middle of the volume, of its mask if it has one.
    """
    marked = case.mask is not None and case.mask.marked > 0
    start = around(case.centre("mask" if marked else "volume"), case.shape, form.size)
    seen = replace(form, control=None, padding="lowest")
    x = np.zeros((case.channels, *form.size), np.float32)
    Visit(case, seen).patch(start, x, stream(0))
    return np.rint(x[:1, form.size[0] // 2, ::-1, ::-1] * 255).astype(np.uint8)


def middle_sections(case: Case, form: PatchForm) -> NDArray[Any]:
    """Cut sections through the middle of a case's first image, one an axis, in its window: (1, SIDE, 3 SIDE) uint8.

    Each is stretched to a square and averages a few slices, so that noise, spacing and a voxel more or less at a border
    change little.
    """
    image = case.images[0]
    x_DHW, squares = image.mapped()[0], []
    low, high = form.window or (image.low[0], image.high[0])
    for axis, n in enumerate(x_DHW.shape):
        half = max(1, round(n / THICK / 2))
        slab = np.take(x_DHW, range(max(0, n // 2 - half), min(n, n // 2 + half)), axis)
        values = slab.mean(axis, dtype=np.float32) * image.scale[0] + image.offset[0]
        grey = np.clip((values - low) / ((high - low) or 1.0), 0, 1).astype(np.float32)
        squares.append(np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX)))
    return np.rint(np.concatenate(squares, 1)[None] * 255).astype(np.uint8)
