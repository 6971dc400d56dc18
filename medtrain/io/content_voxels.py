"""What a volume is, whatever its values are scaled by and wherever it is said to lie: its grey levels, by their order.

A converter writes slope and intercept in 32-bit numbers, or takes those of the maker for those of the standard; it fits
other distances to rounded positions of slices. No rounding of values or spacings is safe from that. The order of grey
levels is: where a volume has no more than 65,536 of them, each voxel counts by the rank of its value among all values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 16  # grey levels that have ranks
WIDE = 1 << 24  # entries of a table of ranks
WHOLE = 2.0**63

Planes = Iterator[NDArray[Any]]


def ranked(x_CDHW: NDArray[Any]) -> Planes | None:
    """Give the planes of a volume as ranks of their values, uint16; None where it has more than 65,536 values."""
    if x_CDHW.dtype.kind in "iub" and x_CDHW.dtype.itemsize <= 2:
        kind = np.dtype(f"u{x_CDHW.dtype.itemsize}")
        turn = 1 << 8 * kind.itemsize - 1 if x_CDHW.dtype.kind == "i" else 0  # negative ones come last, as unsigned
        return _by_table(x_CDHW, lambda plane: np.ascontiguousarray(plane, plane.dtype.newbyteorder("=")).view(kind),
                         1 << 8 * kind.itemsize, turn)  # fmt: skip
    first, last = x_CDHW.min(), x_CDHW.max()
    if float(last) - float(first) < WIDE and is_whole(x_CDHW):
        return _by_table(x_CDHW, lambda plane: (plane - first).astype(np.intp), int(last) - int(first) + 1)
    levels = _levels(x_CDHW)
    if levels is None:
        return None
    low, step = levels[0], np.diff(levels).min(initial=np.inf)
    if (levels[-1] - low) / step >= WIDE:
        return (np.searchsorted(levels, _single(plane)).astype(np.uint16) for plane in _planes(x_CDHW))
    size = int((levels[-1] - low) / step) + 2
    return _by_table(x_CDHW, lambda plane: np.rint((_single(plane) - low) / step).astype(np.intp), size)


def is_whole(x_CDHW: NDArray[Any]) -> bool:
    """Tell whether all values are whole numbers, whatever type stores them."""
    if x_CDHW.dtype.kind in "iub":
        return True
    planes = (np.asarray(plane, np.float64) for plane in _planes(x_CDHW))
    return all(bool((np.abs(plane) < WHOLE).all() and (plane == np.rint(plane)).all()) for plane in planes)


def _by_table(
    x_CDHW: NDArray[Any], index: Callable[[NDArray[Any]], NDArray[Any]], size: int, turn: int = 0
) -> Planes | None:
    """Rank values by a table of those that occur; `index` gives a value's place in it, which begins at `turn`."""
    occurs = np.zeros(size, np.bool_)
    for plane in _planes(x_CDHW):
        occurs[index(plane)] = True
    if np.count_nonzero(occurs) > MOST:
        return None
    rank = np.roll(np.cumsum(np.roll(occurs, -turn)) - 1, turn).astype(np.uint16)
    return (np.take(rank, index(plane)) for plane in _planes(x_CDHW))


def _levels(x_CDHW: NDArray[Any]) -> NDArray[np.float64] | None:
    """List the values that occur, in single precision, sorted; None if there are more than 65,536."""
    levels = np.empty(0, np.float32)
    for plane in _planes(x_CDHW):
        levels = np.union1d(levels, np.unique(_single(plane)))
        if len(levels) > MOST:
            return None
    return levels.astype(np.float64)


def _single(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Round to single precision, as a file of it holds the values of one of double precision."""
    with np.errstate(over="ignore"):
        return np.asarray(plane, np.float32)


def _planes(x_CDHW: NDArray[Any]) -> Planes:
    return (plane for channel in x_CDHW for plane in channel)
