"""A whole volume through a network that learned patches: windows that overlap by half, weighted towards their middle.

Isensee et al., nnU-Net, Nature Methods 2021: Gaussian weights of an eighth of the window's sides, and the mean over
mirrored views. Sums lie in memory, or, of large volumes, in a file that is gone afterwards: what is held at a time does
not grow with the volume beyond `IN_MEMORY`. It needs no torch, so that an export goes through volumes by the same code.
"""

from __future__ import annotations

import itertools
import math
import mmap
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.float32]
Window = Callable[[Voxels], Voxels]

IN_MEMORY = 2**30  # bytes of sums
OVERLAP = 0.5
TOGETHER = 2  # mirrored views: convolutions of one small sample are slow on a CPU


def starts(side: int, window: int, overlap: float = OVERLAP) -> list[int]:
    """List where windows begin along an axis: evenly, overlapping by this share or more, from the first voxel to the
    last."""
    if side <= window:
        return [0]
    number = math.ceil((side - window) / (window * (1 - overlap))) + 1
    return [round(n * (side - window) / (number - 1)) for n in range(number)]


def weights(window: Sequence[int]) -> Voxels:
    """Weigh the voxels of a window: a Gaussian around its middle, nowhere 0."""
    w = np.ones(tuple(window))
    for axis, side in enumerate(window):
        places = (np.arange(side) - (side - 1) / 2) / max(side / 8, 0.5)
        shape = [side if other == axis else 1 for other in range(len(window))]
        w = w * np.exp(-0.5 * places**2).reshape(shape)
    return np.clip(w, float(w.max()) * 1e-3, None).astype(np.float32)


def whole_volume(network: Window, x_CDHW: Any, window: Sequence[int], overlap: float = OVERLAP) -> Voxels:
    """Compute probabilities of all voxels, (K, D, H, W).

    Args:
        network: from (1, C, d, h, w) to probabilities (1, K, d, h, w).
        x_CDHW: standardised, an array or what has a shape and is cut by slices like one; beyond it are zeros.
        window: voxels a side.
        overlap: share of a window that neighbours have in common, at least.
    """
    channels, *sides = x_CDHW.shape
    weight = weights(window)
    sums: Any = None
    before = 0
    for place in itertools.product(*(starts(side, w, overlap) for side, w in zip(sides, window, strict=True))):
        ends = [_shared(start, w, side) for start, w, side in zip(place, window, sides, strict=True)]
        cut, within = tuple(here for here, _ in ends), tuple(there for _, there in ends)
        x_BCDHW = np.zeros((1, channels, *window), np.float32)
        x_BCDHW[0][(slice(None), *within)] = x_CDHW[(slice(None), *cut)]
        probs = network(x_BCDHW)[0]
        if sums is None:
            sums = zeros((len(probs) + 1, *sides))  # the last one of weights
        sums[(slice(-1), *cut)] += (probs * weight)[(slice(None), *within)]
        sums[(-1, *cut)] += weight[within]
        if place[0] != before:
            let_go(sums)
        before = place[0]
    for plane in range(sides[0]):
        sums[:-1, plane] /= sums[-1, plane]
        let_go(sums)
    mean: Voxels = sums[:-1]
    return mean


def _shared(start: int, window: int, side: int) -> tuple[slice, slice]:
    """Say which voxels of an axis, and which of a window along it, are the same; a longer window lies around it."""
    before = max(0, window - side) // 2
    return slice(start, min(start + window, side)), slice(before, before + min(window, side))


def mean_of_views(
    network: Callable[[Any], Any],
    x_BCDHW: Any,
    mirrored: Sequence[int],
    flip: Callable[..., Any],
    join: Callable[[list[Any]], Any],
) -> Any:
    """Average what a network says of all mirrored views, turned back; two views go through it at a time.

    Args:
        x_BCDHW: an array, or a tensor.
        mirrored: axes (0, 1, 2 of D, H, W) along which views are mirrored.
        flip: reverses an array or tensor along some axes.
        join: puts arrays or tensors behind each other along the first axis.
    """
    sums: Any = None
    axes = [
        tuple(n + 2 for n in some) for k in range(len(mirrored) + 1) for some in itertools.combinations(mirrored, k)
    ]
    for first in range(0, len(axes), TOGETHER):
        turns = axes[first : first + TOGETHER]
        views = [flip(x_BCDHW, turned) if turned else x_BCDHW for turned in turns]
        probs = network(join(views) if len(views) > 1 else views[0])
        for n, turned in enumerate(turns):
            own = probs[n * len(x_BCDHW) : (n + 1) * len(x_BCDHW)]
            own = flip(own, turned) if turned else own
            sums = own if sums is None else sums + own
    return sums / len(axes)


def let_go(x: NDArray[Any]) -> None:
    """Take what lies in a file out of this process's memory; it is read again where it is looked at."""
    if isinstance(x, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        file: Any = x
        file._mmap.madvise(mmap.MADV_DONTNEED)


def zeros(shape: Sequence[int]) -> Voxels:
    """Make zeros, in memory or, where they are more than `IN_MEMORY`, in a file that is gone with them."""
    if 4 * math.prod(shape) <= IN_MEMORY:
        return np.zeros(tuple(shape), np.float32)
    with tempfile.TemporaryDirectory(prefix="medtrain_") as folder:  # the mapping outlives the file's name
        return np.memmap(Path(folder) / "sums", np.float32, "w+", shape=tuple(shape))
