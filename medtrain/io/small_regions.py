"""Regions of a mask that resampling would lose.

The nearest voxel that is taken shows most of a mask: from it, the voxels of its label are reached in straight lines,
along one axis after the other. The few that are not reached are looked at one by one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SLAB = 1 << 18  # voxels that are looked at together
Step = tuple[int, ...]
AROUND: list[Step] = sorted(product((-1, 0, 1), repeat=3), key=np.count_nonzero)[1:]  # 26 neighbours


def regain(
    old_DHW: NDArray[np.integer], new_DHW: NDArray[np.integer], taken: list[NDArray[np.intp]], steps: list[float]
) -> int:
    """Mark a voxel of `new_DHW` for each region of `old_DHW` that it lacks: the one that most of the region lies in.

    Args:
        taken: along each axis, which old voxels the new ones are.
        steps: old voxels a new one.

    Returns:
        how many regions that were.
    """
    place_N3, number_N = lost_regions(old_DHW, taken)
    if not len(place_N3):
        return 0
    middles = [((n - 1) / 2, (m - 1) / 2) for n, m in zip(old_DHW.shape, new_DHW.shape, strict=True)]
    near = [(place_N3[:, n] - was) / steps[n] + now for n, (was, now) in enumerate(middles)]
    near_N3 = np.clip(np.floor(np.stack(near, 1) + 0.5).astype(np.int64), 0, np.array(new_DHW.shape) - 1)
    label_N = old_DHW[tuple(place_N3.T)]
    votes_V5, count_V = np.unique(np.column_stack([label_N, number_N, near_N3]), axis=0, return_counts=True)
    order = np.lexsort((-count_V, votes_V5[:, 1], votes_V5[:, 0]))  # labels one after the other, as regions may meet
    _, best = np.unique(votes_V5[order, :2], axis=0, return_index=True)
    won_R5 = votes_V5[order][best]
    for label in np.unique(won_R5[:, 0]):
        new_DHW[tuple(won_R5[won_R5[:, 0] == label, 2:].T)] = label
    return len(best)


def lost_regions(
    old_DHW: NDArray[np.integer], taken: list[NDArray[np.intp]]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find the voxels of connected regions (26 neighbours, one label) of which none is taken.

    Returns:
        places (N, 3), and numbers of the regions (N,).
    """
    box = [_ends(old_DHW, axis) for axis in range(3)]
    starts = np.array([start for start, _ in box], np.int32)
    within_DHW = old_DHW[tuple(slice(*ends) for ends in box)]
    inner = [index[(index >= first) & (index < stop)] - first for index, (first, stop) in zip(taken, box, strict=True)]
    reached = _reached(within_DHW, inner)
    place_N3 = _unreached(within_DHW, reached)
    if not len(place_N3):
        return place_N3, np.empty(0, np.int64)
    open_N = np.logical_or.reduce([_beside(within_DHW, reached, place_N3, step) for step in AROUND])
    pairs = [_joined(within_DHW, place_N3, step) for step in AROUND if step > (0, 0, 0)]
    one, other = np.concatenate(pairs, axis=1)
    links = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(len(place_N3), len(place_N3)))
    region_N = connected_components(links, directed=False)[1].astype(np.int64)
    is_lost = np.ones(region_N.max() + 1, np.bool_)
    is_lost[region_N[open_N]] = False
    lost_N = is_lost[region_N]
    return place_N3[lost_N] + starts, region_N[lost_N]


def _ends(x_DHW: NDArray[np.integer], axis: int) -> tuple[int, int]:
    """Find where marked voxels begin and end along an axis."""
    marked = np.flatnonzero(x_DHW.any(tuple(other for other in range(3) if other != axis)))
    return (int(marked[0]), int(marked[-1]) + 1) if len(marked) else (0, 0)


def _reached(x_DHW: NDArray[np.integer], taken: list[NDArray[np.intp]]) -> NDArray[np.bool_]:
    """Tell which voxels straight lines of their label join to a taken one: along W, then H, then D."""
    reached = np.zeros(x_DHW.shape, np.bool_)
    if not all(map(len, taken)):
        return reached
    grid = np.ix_(*taken[1:])
    for plane_HW, here_HW in ((x_DHW[n], reached[n]) for n in np.unique(taken[0])):
        here_HW[grid] = plane_HW[grid] != 0
        rows, here = plane_HW[taken[1]], here_HW[taken[1]]
        _spread(rows.T, here.T, taken[2])
        here_HW[taken[1]] = here
        _spread(plane_HW, here_HW, taken[1])
    _spread(x_DHW, reached, taken[0])
    return reached


def _spread(x: NDArray[np.integer], reached: NDArray[np.bool_], taken: NDArray[np.intp]) -> None:
    """Reach what lies between the taken ones along the first axis, from one to the next of the same label."""
    ends = int(taken[0]), int(len(x) - 1 - taken[-1])
    for away in range(1, max(int(np.diff(taken).max(initial=0)) // 2, *ends) + 1):
        for side in (-1, 1):
            index = taken + side * away
            index = index[(index >= 0) & (index < len(x))]
            for part in index if x.ndim == 3 else (index,):  # plane by plane, so that nothing large is made
                reached[part] |= (x[part] == x[part - side]) & reached[part - side]


def _unreached(x_DHW: NDArray[np.integer], reached: NDArray[np.bool_]) -> NDArray[np.int32]:
    """List what is neither reached nor beside a reached voxel of its label, which counts as reached then: (N, 3).

    Most of what no line reaches lies at the border of a region that is reached. Slabs keep the arrays small.
    """
    planes, parts = max(1, SLAB // max(1, int(np.prod(x_DHW.shape[1:])))), []
    for first in range(0, len(x_DHW), planes):
        x, there = (_slab(array, first, first + planes) for array in (x_DHW, reached))
        inner = (slice(1, -1),) * 3
        is_open = np.zeros(x.shape, np.bool_)
        is_open[inner] = (x[inner] != 0) > there[inner]
        index, x_flat, there_flat = np.flatnonzero(is_open), x.reshape(-1), there.reshape(-1)
        for step in AROUND:
            beside = index + (step[0] * x.shape[1] + step[1]) * x.shape[2] + step[2]
            same = there_flat[beside] & (x_flat[beside] == x_flat[index])
            there_flat[index[same]] = True
            index = index[~same]
        reached[first : first + planes] = there[inner]
        places = [axis.astype(np.int32) for axis in np.unravel_index(index, x.shape)]
        parts.append(np.stack(places, 1) + np.array((first - 1, -1, -1), np.int32))
    return np.concatenate([*parts, np.empty((0, 3), np.int32)])


def _slab(array_DHW: NDArray[Any], first: int, stop: int) -> NDArray[Any]:
    """Copy planes with one voxel around them, which is 0 where there is none."""
    part = array_DHW[max(0, first - 1) : stop + 1]
    return np.pad(part, ((int(first == 0), int(stop >= len(array_DHW))), (1, 1), (1, 1)))


def _beside(
    x_DHW: NDArray[np.integer], reached: NDArray[np.bool_], place_N3: NDArray[np.int32], step: Step
) -> NDArray[np.bool_]:
    same_N, next_N3 = _next(x_DHW, place_N3, step)
    return same_N & reached[tuple(next_N3.T)]


def _next(
    x_DHW: NDArray[np.integer], place_N3: NDArray[np.int32], step: Step
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Tell which voxels have one of their label at a step from them, and its place (at the edge, the edge)."""
    next_N3 = np.clip(place_N3 + np.array(step, np.int32), 0, np.array(x_DHW.shape, np.int32) - 1)
    within = (next_N3 - place_N3 == step).all(1)
    return within & (x_DHW[tuple(next_N3.T)] == x_DHW[tuple(place_N3.T)]), next_N3


def _joined(x_DHW: NDArray[np.integer], place_N3: NDArray[np.int32], step: Step) -> NDArray[np.int64]:
    """Pair voxels of one label that lie at a step from each other: numbers (2, M)."""
    same_N, next_N3 = _next(x_DHW, place_N3, step)
    flat_N, next_M = (np.ravel_multi_index(tuple(places.T), x_DHW.shape) for places in (place_N3, next_N3[same_N]))
    other_M = np.minimum(np.searchsorted(flat_N, next_M), len(flat_N) - 1)
    there = flat_N[other_M] == next_M
    return np.stack([np.flatnonzero(same_N)[there], other_M[there]])
