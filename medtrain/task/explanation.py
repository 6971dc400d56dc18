"""The request for a task's explanation, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from medtrain.data.base import Inputs
from medtrain.target import Decision


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
    """

    data: Inputs
    form: Mapping[str, Any]
    decision: Decision
    output: Path
    device: torch.device
    method: str = "all"
    classes: str | list[str] = "predicted"
    sanity: int = 4
    region_threshold: float = 0.5


@dataclass
class Explanation:
    """The rows of explain.csv and the checks that a task has written.

    Args:
        columns: of explain.csv, in order.
        rows: of explain.csv, each with ``row`` too, the number of its case.
        checks: of randomised weights, by method.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, Any] = field(default_factory=dict)
