"""Sums, maxima and softmax over segments of packed rows: bags of any size in one batch, without padding.

Instances of B cases stand one after the other in an array of N rows, and ``offsets`` (B+1,) says where each case
starts; the last entry is N. As there is no padding, none can get attention or shift a mean. A segment is never empty:
its softmax and maximum would be undefined, so it is refused.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Packed(NamedTuple):
    """A batch of bags, as networks for bags take it.

    Args:
        x: (N, ...), the instances of all bags, one bag after the other.
        offsets: (B+1,) int64, where each bag starts, and N.
        coords: (N, 2) float32, x and y of each tile's upper left corner in sides of a tile, NaN where a bag has no
            places; of several slides in one bag each lies to the right of the one before, apart from it. None where
            no bag has any.
        columns: (B, C), coded values beside each bag (`core.covariates`); None where there are none.
        cells: what `medtrain.core.cells.cells_around` makes of places, of an export's one bag; else None.
    """

    x: Tensor
    offsets: Tensor
    coords: Tensor | None = None
    columns: Tensor | None = None
    cells: tuple[Tensor, Tensor] | None = None

    def alone(self, number: int) -> Packed:
        """Take one bag out of the batch."""
        start, stop = self.offsets[number : number + 2].tolist()
        coords = None if self.coords is None else self.coords[start:stop]
        columns = None if self.columns is None else self.columns[number : number + 1]
        return Packed(self.x[start:stop], self.offsets.new_tensor([0, stop - start]), coords, columns)


def segment_offsets(lengths: Tensor | list[int]) -> Tensor:
    """Compute (B+1,) int64: where segments of these lengths start, and the end of the last."""
    lengths_B = torch.as_tensor(lengths, dtype=torch.int64)
    return torch.cat([lengths_B.new_zeros(1), lengths_B.cumsum(0)])


def segment_ids(offsets: Tensor, n: int) -> Tensor:
    """Number the rows: (N,) int64, the number of each row's segment.

    Args:
        offsets: (B+1,).
        n: rows in all.

    Raises:
        ValueError: a segment is empty, or the offsets don't cover the rows.
    """
    if one_bag():
        return offsets.new_zeros(n)
    lengths_B = offsets.diff()
    if int(offsets[0]) != 0 or int(offsets[-1]) != n or bool((lengths_B < 1).any()):
        empty = torch.nonzero(lengths_B < 1).flatten().tolist()
        what = f"segment {empty[0]} is empty" if empty else f"they run from {int(offsets[0])} to {int(offsets[-1])}"
        raise ValueError(f"offsets of {n} rows: {what}")
    return torch.repeat_interleave(lengths_B, output_size=n)


def one_bag() -> bool:
    """Tell whether a network is traced for an export: its graph takes one bag a call, and can't look into offsets."""
    return torch.compiler.is_exporting()


def segment_sum(x_ND: Tensor, offsets: Tensor) -> Tensor:
    """Sum each segment of (N, ...): (B, ...)."""
    return _summed(x_ND, segment_ids(offsets, x_ND.shape[0]), len(offsets) - 1)


def segment_max(x_ND: Tensor, offsets: Tensor) -> Tensor:
    """Take the maximum of each segment of (N, ...): (B, ...); equal maxima share the gradient."""
    return _maxima(x_ND, segment_ids(offsets, x_ND.shape[0]), len(offsets) - 1)


def segment_softmax(scores_N: Tensor, offsets: Tensor) -> Tensor:
    """Compute weights (N, ...) that sum to 1 within each segment, column by column; large scores don't overflow."""
    ids_N, number = segment_ids(offsets, scores_N.shape[0]), len(offsets) - 1
    top = _maxima(scores_N.detach(), ids_N, number)  # any constant a segment will do, so no gradient need flow
    weights = (scores_N - top[ids_N]).exp()
    return weights / _summed(weights, ids_N, number)[ids_N]


def segment_logsumexp(scores_N: Tensor, offsets: Tensor) -> Tensor:
    """Compute the log of each segment's sum of exponentials, (N, ...) -> (B, ...); large scores don't overflow."""
    ids_N, number = segment_ids(offsets, scores_N.shape[0]), len(offsets) - 1
    top = _maxima(scores_N.detach(), ids_N, number)
    return _summed((scores_N - top[ids_N]).exp(), ids_N, number).log() + top


def segment_ranks(values_N: Tensor, offsets: Tensor) -> Tensor:
    """Rank (N, ...) within each segment, column by column: 0 for the highest; of equal ones the first comes first."""
    ids_N = segment_ids(offsets, values_N.shape[0])
    ids = ids_N.reshape(-1, *[1] * (values_N.ndim - 1)).expand_as(values_N)
    if one_bag():  # ONNX has no sort, and its top-k puts the first of equal ones first
        order = values_N.topk(values_N.shape[0], dim=0).indices
    else:
        order = values_N.argsort(dim=0, descending=True, stable=True)
        order = order.gather(
            0, ids.gather(0, order).argsort(dim=0, stable=True)
        )  # segment by segment, in which it stays so
    place = torch.arange(values_N.shape[0], device=values_N.device).reshape(-1, *[1] * (values_N.ndim - 1))
    return torch.empty_like(order).scatter(0, order, place.expand_as(order)) - offsets[ids]


def _summed(x: Tensor, ids_N: Tensor, number: int) -> Tensor:
    if one_bag():
        return x.sum(0, keepdim=True)
    return x.new_zeros(number, *x.shape[1:]).index_add(0, ids_N, x)


def _maxima(x: Tensor, ids_N: Tensor, number: int) -> Tensor:
    if one_bag():
        return x.amax(0, keepdim=True)
    index = ids_N.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
    return x.new_zeros(number, *x.shape[1:]).scatter_reduce(0, index, x, "amax", include_self=False)
