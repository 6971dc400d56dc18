"""What validation looks at after an epoch: as much of a case as choosing between epochs needs, and no more.

A final judgement sees each case through windows that overlap by half, in mirrored views; for a choice between epochs a
small case goes through the network in one piece, a large one through fewer windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtrain.core.sliding import OVERLAP
from medtrain.data.batches.patch_places import Zyx, around
from medtrain.target.mask import MaskTarget

Look = Literal["whole", "patches"]

ONE_PIECE = 4  # times the voxels of a patch, up to which a case goes through the network in one piece
LITTLE = 0.25  # overlap of the windows of a larger one: a third as many as with half
SMALL = 2**15  # voxels, below which torch takes slow convolutions for a sample alone


class Windows(NamedTuple):
    """Windows of a volume: voxels a side, and the share that neighbours have in common."""

    size: Sequence[int]
    overlap: float = OVERLAP


def quick_windows(sides: Sequence[int], patch: Sequence[int]) -> Windows:
    """Choose the windows of a case: itself, no smaller than a patch; or patches that overlap a little."""
    whole = [max(side, n) for side, n in zip(sides, patch, strict=True)]
    return Windows(whole) if math.prod(whole) <= ONE_PIECE * math.prod(patch) else Windows(patch, LITTLE)


def pieces(
    x_CDHW: Any, mask_DHW: NDArray[Any], target: MaskTarget, patch: Sequence[int], look: Look
) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Give image (C, d, h, w) and mask (d, h, w) of what validation looks at.

    Args:
        x_CDHW: an array, or what has a shape and is cut by slices like one.
        look: ``whole``, all of the case; ``patches``, of each class that it shows the patch around its most central
            voxel, and of a case without any the one in its middle.
    """
    if look == "whole":
        yield x_CDHW, mask_DHW
        return
    shown = [places for one in target.classes_in(mask_DHW) if len(places := np.argwhere(one))]
    middles = [most_central(places) for places in shown] or [[side / 2 for side in mask_DHW.shape]]
    z, y, x = patch
    starts: set[Zyx] = {around(middle, mask_DHW.shape, (z, y, x)) for middle in middles}
    for start in sorted(starts):
        cut: tuple[Any, ...] = tuple(slice(max(0, first), first + n) for first, n in zip(start, patch, strict=True))
        yield x_CDHW[(slice(None), *cut)], mask_DHW[cut]


def most_central(places_N3: NDArray[np.int64]) -> list[float]:
    """Find the place that is nearest to the mean of all."""
    apart_N3 = places_N3 - places_N3.mean(0)
    nearest: list[float] = places_N3[(apart_N3**2).sum(1).argmin()].tolist()
    return nearest


def too_small_alone(x_BCDHW: Tensor) -> bool:
    """Tell whether a sample had better go through a network on a CPU twice at once: of one alone, of few voxels, torch
    computes convolutions in 32 bits without oneDNN, which takes up to 8 times as long."""
    alone = len(x_BCDHW) == 1 and x_BCDHW[0, 0].numel() <= SMALL
    return alone and x_BCDHW.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
