"""One slice of a volume, for a person to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.streams import stream
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patch_places import around
from medtrain.data.batches.patches import Case, Visit


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
