"""Boxes in an image, any number of each class, also none; an image shows the classes of its boxes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medtrain.metric.policy import BOXES
from medtrain.target.base import Form, Target


@dataclass(frozen=True)
class BoxTarget(Target):
    """Values are float [N, C]: 1 where an image shows a box of the class, else 0.

    Args:
        category_ids: of the classes in the user's COCO file; empty: from 1.
    """

    category_ids: tuple[Any, ...] = field(default=(), compare=False)

    kind = "boxes"
    forms: ClassVar[frozenset[Form]] = frozenset({"boxes"})
    several = True
    grammar = BOXES

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def indicators(self, values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(values, np.float64)

    def cannot_choose(self, values: NDArray[Any], monitors: Collection[str]) -> tuple[str, str] | None:
        if (values == 1).any():
            return None
        return (
            f"validation ({len(values)} cases) holds no box, so val_map50 is undefined and can't choose a checkpoint",
            "give it more cases (the split column), or another data.split_seed",
        )

    def to_dict(self) -> dict[str, Any]:
        plain = super().to_dict()
        return plain if self.category_ids else {key: plain[key] for key in plain if key != "category_ids"}
