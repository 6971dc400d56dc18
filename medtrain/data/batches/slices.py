"""Volumes as a frozen encoder of pictures takes them: slice by slice along D, of the patches that evaluation sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.streams import stream
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patches import Case, Visit, grid_of
from medtrain.data.batches.pieces import Pieces
from medtrain.io.store.files import digest

OF_PATCHES = ("size", "stride", "center", "crop", "window", "padding", "control")  # that change what is cut


@dataclass
class Slices(Pieces):
    """Slices along D of the patches of volumes.

    Args:
        cases: by number, None for what cannot be used.
        form: how patches are cut.
        spacing: of the volumes as they are kept.
    """

    cases: Sequence[Case | None]
    form: PatchForm
    spacing: tuple[float, ...] | None

    noun = "slices"
    colours = False
    at_once = 1

    def __post_init__(self) -> None:
        self.how = {key: getattr(self.form, key) for key in OF_PATCHES} | {"spacing": self.spacing}
        self.size = self.form.size[1:]

    def content(self, number: int) -> bytes:
        case = self._case(number)
        parts = [image.identity for image in case.images]
        if self.form.center == "mask" and case.mask is not None:
            parts.append(case.mask.identity)
        return digest("\n".join(parts).encode())

    def of(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        return [self._slices(number) for number in numbers]

    def _slices(self, number: int) -> NDArray[np.float32]:
        case = self._case(number)
        visit, starts = Visit(case, self.form), places(case, self.form)
        x_NCDHW = np.zeros((len(starts), case.channels, *self.form.size), np.float32)
        for n, (x, start) in enumerate(zip(x_NCDHW, starts, strict=True)):
            visit.patch(start, x, stream(0, "control", number, n))
        return x_NCDHW.swapaxes(1, 2).reshape(-1, case.channels, *self.size)

    def _case(self, number: int) -> Case:
        case = self.cases[number]
        assert case is not None
        return case


def places(case: Case, form: PatchForm) -> list[tuple[int, int, int]]:
    """List where the patches of a case begin in evaluation, in their order."""
    return [
        (int(z), int(y), int(x))
        for z, y, x in np.stack(np.meshgrid(*grid_of(case, form), indexing="ij"), -1).reshape(-1, 3)
    ]
