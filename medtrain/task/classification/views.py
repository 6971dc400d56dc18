"""Views of a case that test-time augmentation averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from medtrain.augment import Views2d, Views3d

SIDES = ("head_feet", "front_back", "left_right")


def views(number: int, augment: Mapping[str, Any], dims: int) -> nn.Module | None:
    """Make the views of a case, flipped only where training flips too; None for fewer than two."""
    if number <= 1:
        return None
    if dims == 3:
        return Views3d(number, [bool(augment.get(f"flip_{side}")) for side in SIDES])
    return Views2d(number, bool(augment.get("flip_horizontal")), bool(augment.get("flip_vertical")))
