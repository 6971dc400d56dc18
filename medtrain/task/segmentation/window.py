"""A whole volume through a network that learned patches: windows that overlap by half, weighted towards their middle.

Isensee et al., nnU-Net, Nature Methods 2021: Gaussian weights of an eighth of the window's sides, and the mean over
mirrored views. Sums lie in memory, or, of large volumes, in a file that is gone afterwards: what is held at a time does
not grow with the volume beyond `IN_MEMORY`.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

IN_MEMORY = 2**30  # bytes of sums
OVERLAP = 0.5


def starts(side: int, window: int) -> list[int]:
    """List where windows begin along an axis: evenly, half overlapping, from the first voxel to the last."""
    if side <= window:
        return [0]
    number = math.ceil((side - window) / (window * OVERLAP)) + 1
    return [round(n * (side - window) / (number - 1)) for n in range(number)]


def weights(window: Sequence[int]) -> Tensor:
    """Weigh the voxels of a window: a Gaussian around its middle, nowhere 0."""
    w = torch.ones(*window)
    for axis, side in enumerate(window):
        places = (torch.arange(side) - (side - 1) / 2) / max(side / 8, 0.5)
        shape = [side if other == axis else 1 for other in range(len(window))]
        w = w * torch.exp(-0.5 * places**2).reshape(shape)
    return w.clamp(min=float(w.max()) * 1e-3)


def whole_volume(
    network: Callable[[Tensor], Tensor], x_CDHW: Tensor, window: Sequence[int], mirrored: Sequence[int] = ()
) -> Tensor:
    """Compute probabilities of all voxels, (K, D, H, W) float32 on the CPU.

    Args:
        network: from (1, C, d, h, w) to probabilities (1, K, d, h, w).
        x_CDHW: standardised; beyond it are zeros.
        window: voxels a side.
        mirrored: axes (0, 1, 2 of D, H, W) along which views are mirrored too.
    """
    sides = x_CDHW.shape[1:]
    lacks = [max(0, w - side) for w, side in zip(window, sides, strict=True)]
    if any(lacks):
        ends = [n for lack in reversed(lacks) for n in (lack // 2, lack - lack // 2)]
        padded = whole_volume(network, torch.nn.functional.pad(x_CDHW, ends), window, mirrored)
        z, y, x = (slice(lack // 2, lack // 2 + side) for lack, side in zip(lacks, sides, strict=True))
        return padded[:, z, y, x].contiguous()
    weight = weights(window)
    sums, total = None, torch.zeros(*sides)
    for place in itertools.product(*(starts(side, w) for side, w in zip(sides, window, strict=True))):
        cut = tuple(slice(start, start + w) for start, w in zip(place, window, strict=True))
        probs = _views(network, x_CDHW[(slice(None), *cut)][None], mirrored)[0].float().cpu()
        if sums is None:
            sums = _zeros((len(probs), *sides))
        sums[(slice(None), *cut)] += probs * weight
        total[cut] += weight
    assert sums is not None
    for channel in sums:
        channel /= total
    return sums


def _views(network: Callable[[Tensor], Tensor], x_BCDHW: Tensor, mirrored: Sequence[int]) -> Tensor:
    """Average what a network says of all mirrored views, turned back."""
    sums: Tensor | None = None
    choices = [axes for n in range(len(mirrored) + 1) for axes in itertools.combinations(mirrored, n)]
    for axes in choices:
        turned = [axis + 2 for axis in axes]
        probs = network(x_BCDHW.flip(turned) if turned else x_BCDHW)
        probs = probs.flip(turned) if turned else probs
        sums = probs if sums is None else sums + probs
    assert sums is not None
    return sums / len(choices)


def _zeros(shape: Sequence[int]) -> Tensor:
    size = math.prod(shape)
    if 4 * size <= IN_MEMORY:
        return torch.zeros(*shape)
    with tempfile.TemporaryDirectory(prefix="medtrain_") as folder:  # the mapping outlives the file's name
        return torch.from_file(str(Path(folder) / "sums"), shared=True, size=size, dtype=torch.float32).view(*shape)
