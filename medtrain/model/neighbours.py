"""Tiles that see the tiles around them, wherever these stand in the file.

The mean aggregator of Hamilton et al., Inductive representation learning on large graphs, NeurIPS 2017, on the graph of
tiles that lie side by side; a slide as such a graph is Chen et al., Whole slide images are 2D point clouds, MICCAI
2021. Then attention pools them as ever. Nothing depends on the order of instances.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Part, checked
from medtrain.core.segments import Packed, segment_ids
from medtrain.model.bag_network import Attention, BagNetwork, widths
from medtrain.target import DataSpec


def neighbour_means(h_NH: Tensor, offsets: Tensor, coords_N2: Tensor, reach: int) -> Tensor:
    """Average (N, H) over the other tiles of the same bag around each, at most `reach` tiles away on either axis.

    Places are rounded to whole tiles, so grids of their own, overlaps and duplicates have neighbours too. 0 where there
    is no other tile, or the place is NaN.
    """
    known_N = coords_N2.isfinite().all(1)
    x_KH, bag_K = h_NH[known_N].float(), segment_ids(offsets, len(h_NH))[known_N]
    means_NH = h_NH.new_zeros(h_NH.shape)
    if not len(x_KH):
        return means_NH
    cells_K2 = (coords_N2[known_N] + 0.5).floor().long()
    low_2 = cells_K2.amin(0) - reach  # a margin, so that no row's end touches the next one's start
    width, height = (cells_K2.amax(0) - low_2 + reach + 1).tolist()
    column_K, row_K = (cells_K2 - low_2).unbind(1)
    cell_M, inverse_K = torch.unique((bag_K * height + row_K) * width + column_K, return_inverse=True)
    sums_MH = x_KH.new_zeros(len(cell_M), x_KH.shape[1]).index_add(0, inverse_K, x_KH)
    counts_M = torch.bincount(inverse_K, minlength=len(cell_M))
    total_MH, number_M = torch.zeros_like(sums_MH), torch.zeros_like(counts_M)
    for down, right in product(range(-reach, reach + 1), repeat=2):
        wanted_M = cell_M + down * width + right
        place_M = torch.searchsorted(cell_M, wanted_M).clamp(max=len(cell_M) - 1)
        there_M = cell_M[place_M] == wanted_M
        total_MH = total_MH + sums_MH[place_M] * there_M[:, None]
        number_M = number_M + counts_M[place_M] * there_M
    others_K = number_M[inverse_K] - 1
    means_KH = (total_MH[inverse_K] - x_KH) / others_K.clamp(min=1)[:, None] * (others_K > 0)[:, None]
    return means_NH.masked_scatter(known_N[:, None], means_KH.to(h_NH.dtype))


class SeesNeighbours(nn.Module):
    """Add to each instance what a layer makes of it and of the mean of its neighbours."""

    def __init__(self, width: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.reach = reach
        self.join = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, h_NH: Tensor, bags: Packed) -> Tensor:
        """Compute (N, H) of (N, H)."""
        assert bags.coords is not None
        near_NH = neighbour_means(h_NH, bags.offsets, bags.coords, self.reach)
        seen: Tensor = h_NH + self.drop(self.join(torch.cat([h_NH, near_NH], 1)).relu())
        return seen


class NeighbourNetwork(BagNetwork):
    """`BagNetwork` whose instances see those around them before they are scored.

    Args:
        rounds: how often: each sees further by `reach`.
        reach: tiles to each side.
        more: see `BagNetwork`.
    """

    remark = (
        "model=neighbour_mil sees the tiles around each tile: data.max_instances and model.instance_dropout leave out "
        "some of them in training alone, and tiles without coordinates have none"
    )

    def __init__(
        self, spec: DataSpec, weigh: nn.Module, *, rounds: int, reach: int, dropout: float, **more: Any
    ) -> None:
        super().__init__(spec, weigh, dropout=dropout, **more)
        head = self.head
        del self.head, self.weigh  # they come last: the parts stand in the order in which they are used (`core.stages`)
        self.around = nn.ModuleList(SeesNeighbours(head.in_features, reach, dropout) for _ in range(rounds))
        self.weigh, self.head = weigh, head

    def in_context(self, h_NH: Tensor, bags: Packed) -> Tensor:
        """Let instances see their neighbours (N, H).

        Raises:
            UsageError: no bag has coordinates.
        """
        if bags.coords is None:
            raise UsageError(
                "model=neighbour_mil sees where tiles lie, and none of these bags has coordinates with a size of tiles "
                "(data.tile_edge): take another model, gated_attention_mil, say, or bags with coordinates"
            )
        for around in self.around:
            h_NH = around(h_NH, bags)
        return h_NH


@checked("model")
def neighbour_mil(
    spec: DataSpec,
    hidden: list[Count] | None = None,
    attention: Count = 64,
    rounds: Count = 1,
    reach: Count = 1,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
) -> NeighbourNetwork:
    """Build gated attention on tiles that see the tiles around them.

    Args:
        attention: width of its hidden layer.
        rounds: how often tiles see their neighbours.
        reach: how many tiles to each side are neighbours.
    """
    layers = widths(spec, hidden)
    weigh = Attention(layers[-1] if layers else spec.channels, attention, gated=True)
    options: dict[str, Any] = {"hidden": layers, "dropout": dropout, "instance_dropout": instance_dropout}
    return NeighbourNetwork(spec, weigh, rounds=rounds, reach=reach, **options)
