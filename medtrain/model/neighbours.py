"""Tiles that see the tiles around them, wherever these stand in the file.

The mean aggregator of Hamilton et al., Inductive representation learning on large graphs, NeurIPS 2017, on the graph of
tiles that lie side by side; a slide as such a graph is Chen et al., Whole slide images are 2D point clouds, MICCAI
2021. Then attention pools them as ever. Nothing depends on the order of instances.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medtrain.core.cells import cells_around
from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Part, checked
from medtrain.core.segments import Packed, segment_ids
from medtrain.model.bag_network import Attention, BagNetwork, widths
from medtrain.target import DataSpec


def neighbour_means(h_NH: Tensor, cell_N: Tensor, around_MP: Tensor) -> Tensor:
    """Average (N, H) over the other tiles of the same bag around each; 0 where there is no other, or no place.

    Places are rounded to whole tiles, so grids of their own, overlaps and duplicates have neighbours too.

    Args:
        cell_N, around_MP: as of `cells_around`.
    """
    places = around_MP.shape[0]
    known_N1 = (cell_N < places)[:, None]
    x_NH = h_NH.float() * known_N1
    nothing = x_NH.new_zeros(places + 1, h_NH.shape[1] + 1)
    sums_MH = nothing.index_add(0, cell_N, torch.cat([x_NH, known_N1.float()], 1))  # the last column counts them
    total_MH = torch.cat([sum((sums_MH[around_M] for around_M in around_MP.unbind(1)), nothing[:-1]), nothing[:1]])
    others_N1 = total_MH[cell_N][:, -1:] - 1
    means_NH = (total_MH[cell_N][:, :-1] - x_NH) / others_N1.clamp(min=1) * (others_N1 > 0)
    return (means_NH * known_N1).to(h_NH.dtype)


class SeesNeighbours(nn.Module):
    """Add to each instance what a layer makes of it and of the mean of its neighbours."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.join = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, h_NH: Tensor, cell_N: Tensor, around_MP: Tensor) -> Tensor:
        """Compute (N, H) of (N, H)."""
        near_NH = neighbour_means(h_NH, cell_N, around_MP)
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
        self.reach = reach
        head = self.head
        del self.head, self.weigh  # they come last: the parts stand in the order in which they are used (`core.stages`)
        self.around = nn.ModuleList(SeesNeighbours(head.in_features, dropout) for _ in range(rounds))
        self.weigh, self.head = weigh, head

    def in_context(self, h_NH: Tensor, bags: Packed) -> Tensor:
        """Let instances see their neighbours (N, H).

        Raises:
            UsageError: no bag has coordinates.
        """
        if bags.coords is None and bags.cells is None:
            raise UsageError(
                "model=neighbour_mil sees where tiles lie, and none of these bags has coordinates with a size of tiles "
                "(data.tile_edge): take another model, gated_attention_mil, say, or bags with coordinates"
            )
        cell_N, around_MP = bags.cells or cells_around(
            bags.coords, segment_ids(bags.offsets, len(h_NH)), self.reach, torch
        )
        for around in self.around:
            h_NH = around(h_NH, cell_N, around_MP)
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
