"""Regions of a mask that resampling would lose, found in slabs, so that no numbers of a whole volume are held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SLAB = 1 << 19  # voxels that are numbered at a time
TOUCHING = np.ones((3, 3, 3), int)  # 26 neighbours


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
    is_taken = [np.isin(np.arange(n), index) for n, index in zip(old_DHW.shape, taken, strict=True)]
    middles = [((n - 1) / 2, (m - 1) / 2) for n, m in zip(old_DHW.shape, new_DHW.shape, strict=True)]
    last, regained = np.array(new_DHW.shape) - 1, 0
    for label, box in enumerate(ndimage.find_objects(old_DHW), start=1):
        if box is None:
            continue
        within_DHW = old_DHW[box]
        regions = _Regions(within_DHW, label, [part[ends] for part, ends in zip(is_taken, box, strict=True)])
        votes_V4, counts = [np.empty((0, 4), np.int64)], [np.empty(0, np.int64)]
        for number_N, points_N3 in regions.lost():
            points_N3 += [ends.start for ends in box]
            near = [(points_N3[:, n] - was) / steps[n] + now for n, (was, now) in enumerate(middles)]
            near_N3 = np.clip(np.floor(np.stack(near, 1) + 0.5).astype(np.int64), 0, last)
            votes, count = np.unique(np.column_stack([number_N, near_N3]), axis=0, return_counts=True)
            votes_V4.append(votes)
            counts.append(count)
        votes, same = np.unique(np.concatenate(votes_V4), axis=0, return_inverse=True)
        count = np.bincount(same.ravel(), np.concatenate(counts))
        order = np.lexsort((-count, votes[:, 0]))
        _, best = np.unique(votes[order, 0], return_index=True)
        new_DHW[tuple(votes[order][best, 1:].T)] = label
        regained += len(best)
    return regained


class _Regions:
    """Connected regions of one label, numbered part by part.

    Args:
        within_DHW: labels.
        is_taken: along each axis, whether a voxel is taken.
    """

    def __init__(self, within_DHW: NDArray[np.integer], label: int, is_taken: list[NDArray[np.bool_]]) -> None:
        self.within_DHW, self.label = within_DHW, label
        planes = max(1, SLAB // int(np.prod(within_DHW.shape[1:])))
        self.slabs = [slice(first, first + planes) for first in range(0, len(within_DHW), planes)]
        self.start = [0]  # the first number of each slab
        seen, joined = [], [np.empty((0, 2), np.int64)]
        last: NDArray[np.int32] | None = None
        for slab in self.slabs:
            number_DHW, count = self._numbered(slab)
            is_seen = np.zeros(count + 1, np.bool_)
            is_seen[number_DHW[np.ix_(is_taken[0][slab], *is_taken[1:])]] = True
            seen.append(is_seen[1:])
            if last is not None:
                joined.append(_touching(last, number_DHW[0]) - 1 + np.array(self.start[-2:]))
            last = number_DHW[-1]
            self.start.append(self.start[-1] + count)
        pairs, total = np.concatenate(joined), self.start[-1]
        links = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(total, total))
        self.region = connected_components(links, directed=False)[1]
        survives = np.zeros(total, np.bool_)
        survives[self.region[np.concatenate(seen)]] = True
        self.is_lost = ~survives[self.region]

    def lost(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Give the voxels of regions of which none is taken: numbers of the regions, and places (N, 3)."""
        for slab, start, stop in zip(self.slabs, self.start, self.start[1:], strict=False):
            if self.is_lost[start:stop].any():
                number_DHW, _ = self._numbered(slab)
                points_N3 = np.argwhere(np.append(False, self.is_lost[start:stop])[number_DHW])
                number_N = number_DHW[tuple(points_N3.T)].astype(np.int64) - 1 + start
                yield self.region[number_N].astype(np.int64), points_N3 + np.array([slab.start, 0, 0])

    def _numbered(self, slab: slice) -> tuple[NDArray[np.int32], int]:
        number_DHW, count = ndimage.label(self.within_DHW[slab] == self.label, TOUCHING)
        return number_DHW, int(count)


def _touching(one_HW: NDArray[np.int32], other_HW: NDArray[np.int32]) -> NDArray[np.int64]:
    """List the pairs of numbers that are neighbours from one plane to the next, (N, 2)."""
    height, width = one_HW.shape
    wide, marked = np.pad(other_HW, 1), one_HW > 0
    pairs = []
    for down in range(3):
        for across in range(3):
            beside = wide[down : down + height, across : across + width]
            both = marked & (beside > 0)
            pairs.append(one_HW[both].astype(np.int64) << 32 | beside[both])
    joined = np.unique(np.concatenate(pairs))
    return np.stack([joined >> 32, joined & (2**32 - 1)], 1)
