"""The request for a task's explanation, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from medtrain.core.errors import UsageError
from medtrain.data.base import Data
from medtrain.explain import Covers
from medtrain.target import Decision


def image_in_words(facts: Any) -> str:
    """Write an image and its weight behind the name of its case; nothing where a case has but one image.

    Args:
        facts: a map, or a row of a table of explanations.
    """
    if "image" not in facts:
        return ""
    weight = "" if pd.isna(facts["weight"]) else f", weight {facts['weight']:.2f}"
    return f" ({Path(facts['image']).name}{weight})"


@dataclass(frozen=True)
class Request:
    """Cases to explain.

    Args:
        data: the cases, as the trained task sees them.
        form: the data node of the configuration.
        decision: the run's.
        output: the folder to write into.
        device: where the network is.
        method: a method of explanation, or all that the network has.
        classes: ``predicted``, ``all``, or names.
        sanity: cases for the test of randomised weights; 0 leaves it out.
        region_threshold: tiles from this score on are put together to lesions.
        occlusion_size, occlusion_stride, occlusion_fill: of the method occlusion, see `medtrain.explain.Covers`.
    """

    data: Data
    form: Mapping[str, Any]
    decision: Decision
    output: Path
    device: torch.device
    method: str = "all"
    classes: str | list[str] = "predicted"
    sanity: int = 4
    region_threshold: float = 0.5
    occlusion_size: int | list[int] | None = None
    occlusion_stride: int | list[int] | None = None
    occlusion_fill: str = "mean"

    def covers(self, sides: tuple[int, ...]) -> Covers:
        """Make what the method occlusion covers inputs of these sides with.

        Raises:
            UsageError: its sizes are for inputs of other dimensions.
        """
        for key, value in (("size", self.occlusion_size), ("stride", self.occlusion_stride)):
            if isinstance(value, list) and len(value) != len(sides):
                raise UsageError(
                    f"explain.occlusion_{key}={value}: give one number, or {len(sides)} (the input is "
                    f"{' x '.join(map(str, sides))})"
                )
        return Covers(self.occlusion_size, self.occlusion_stride, self.occlusion_fill, int(self.form["batch_size"]))


@dataclass
class Explanation:
    """The rows of explain.csv and the checks that a task has written.

    Args:
        columns: of explain.csv, in order.
        rows: of explain.csv, each with ``row`` too, the number of its case.
        checks: of randomised weights, by method.
        notes: what is to be told of how the maps were made.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
