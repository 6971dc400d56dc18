"""Anchors of torchvision's detectors, fitted to the boxes of the data level by level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

from medtrain.core.anchors import Shapes, fit_anchors
from medtrain.target import DataSpec

REACH = 4
"""An anchor is this many strides wide, or up to twice that: smaller ones would leave gaps between them."""


class Anchors(AnchorGenerator):
    """Generator of torchvision's anchors from widths and heights, not sizes times ratios, to a fraction of a pixel.

    (Its own rounds half widths: an anchor of 4 px at a ratio of 1:2 becomes 6 x 2.)

    Args:
        shapes: of each level the (width, height) of each anchor in pixels, as many on every level.
    """

    def __init__(self, shapes: Sequence[Shapes]) -> None:
        super().__init__(
            sizes=tuple(tuple(range(len(level))) for level in shapes), aspect_ratios=((1.0,),) * len(shapes)
        )
        self.cell_anchors = [_around_zero(torch.as_tensor(level, dtype=torch.float32)) for level in shapes]

    def generate_anchors(self, *args: object, **kwargs: object) -> Tensor:
        return torch.empty(0, 4)  # replaced as soon as the levels are known


def _around_zero(shapes_A2: Tensor) -> Tensor:
    return torch.cat([-shapes_A2, shapes_A2], 1) / 2


def level_shapes(spec: DataSpec, strides: Sequence[int], per_level: int) -> list[Shapes]:
    """Choose widths and heights of the anchors of each level, finest first.

    A level gets shapes fitted to the training boxes that are 4 to 8 strides wide (the finest all smaller ones too, the
    coarsest all larger ones): a large box on a fine level would need a view that the level hasn't, a small one on a
    coarse level falls between its anchors. A level with too few boxes has upright, square and lying boxes of its size.
    """
    wh = np.asarray(spec.boxes, np.float64).reshape(-1, 2)
    side = np.sqrt(wh.prod(1))
    edges = [0.0, *(float(REACH * stride) for stride in strides[1:]), np.inf]
    levels = []
    for stride, low, high in zip(strides, edges[:-1], edges[1:], strict=True):
        own = wh[(side >= low) & (side < high)]
        levels.append(fit_anchors(own, 1, per_level)[0] if len(own) >= per_level else _usual(stride, per_level))
    return levels


def _usual(stride: int, per_level: int) -> Shapes:
    """Make boxes of one area, with ratios of height to width from 1:2 to 2:1."""
    stretch = 2 ** (np.linspace(-1, 1, per_level) / 2) if per_level > 1 else np.ones(1)
    return np.asarray(REACH * stride * np.stack([1 / stretch, stretch], 1))
