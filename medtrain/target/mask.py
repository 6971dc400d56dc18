"""Masks: of each voxel of a case its label, or the regions that it belongs to."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medtrain.target.base import Form, Target, Words


@dataclass(frozen=True)
class MaskTarget(Target):
    """Values are float [N, C]: 1 where a case shows a voxel of the class, else 0.

    Args:
        labels: names of labels 1..N of a mask in a batch; empty: the classes.
        codes: what the files have for each of them; empty: 1..N.
        regions: of each class the labels (1..N) that make it; empty: classes are the labels themselves.
        ignore_label: what the files have where nobody knows; None for nothing.
    """

    labels: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    regions: tuple[tuple[int, ...], ...] = ()
    ignore_label: int | None = None

    kind = "mask"
    no_threshold = "masks, where the likeliest label counts"
    forms: ClassVar[frozenset[Form]] = frozenset({"masks"})
    words: ClassVar[Words] = Words(
        decided="Each voxel has the label of the highest probability; to a region it belongs from 0.5 on."
    )
    several = True

    @property
    def n_outputs(self) -> int:
        return len(self.regions) or len(self.classes) + 1

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Give of each class the labels (1..N) that make it."""
        return self.regions or tuple((label,) for label in range(1, len(self.classes) + 1))

    @property
    def layout(self) -> str:
        """Say how a label map holds the classes: ``labels``; ``nested`` where each region lies within the one before;
        ``summed`` of other regions, whose numbers 1, 2, 4, ... a voxel has the sum of."""
        pairs = itertools.pairwise(self.regions)
        if not self.regions:
            return "labels"
        return "nested" if all(set(outer) >= set(inner) for outer, inner in pairs) else "summed"

    @property
    def file_codes(self) -> tuple[int, ...]:
        """Give what the files have for labels 1..N."""
        return self.codes or tuple(range(1, len(self.labels or self.classes) + 1))

    @property
    def thresholded(self) -> tuple[str, ...]:
        return ()

    def classes_in(self, label_DHW: NDArray[Any]) -> list[NDArray[np.bool_]]:
        """Give the voxels of each class, of labels as batches have them."""
        return [np.isin(label_DHW, part) for part in self.parts]

    def indicators(self, values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(values, np.float64)

    def cannot_choose(self, values: NDArray[Any], monitors: Collection[str]) -> tuple[str, str] | None:
        if "val_dice" not in monitors or (values == 1).any():
            return None
        return (
            f"validation ({len(values)} cases) holds no mask that marks a class, so val_dice is undefined and can't "
            "choose a checkpoint",
            "give it more cases (the split column), or another data.split_seed",
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        made = super().from_plain(plain)
        object.__setattr__(made, "regions", tuple(tuple(region) for region in made.regions))
        return made
