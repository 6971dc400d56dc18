"""Tiles that see their neighbours, against loops over all pairs, and on bags where only neighbours tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from medtrain.core.cells import cells_around
from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_ids, segment_offsets
from medtrain.model import attention_mil
from medtrain.model.neighbours import NeighbourNetwork, neighbour_means, neighbour_mil
from medtrain.target import DataSpec

LENGTHS = [12, 1, 30, 7]
SPEC = DataSpec.of("multiclass", ("a", "b", "c"), 6)


def bags() -> Packed:
    """Four bags on small grids: one of half tiles, with duplicates; one without places; one far to the left."""
    draw = torch.Generator().manual_seed(2)
    coords = torch.randint(0, 5, (sum(LENGTHS), 2), generator=draw).float()
    coords[13:43] = coords[13:43] * 0.5 + 0.3
    coords[43:] = torch.nan
    coords[:12] -= 40
    return Packed(torch.randn(sum(LENGTHS), 6, generator=draw), segment_offsets(LENGTHS), coords)


def around(batch: Packed, x: Tensor, reach: int) -> Tensor:
    """The mean of the neighbours, a pair at a time."""
    out = torch.zeros_like(x)
    for start, stop in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        cells = torch.floor(batch.coords[start:stop] + 0.5)
        for i in range(stop - start):
            near = [
                x[start + j]
                for j in range(stop - start)
                if j != i and float((cells[i] - cells[j]).abs().max()) <= reach  # never true of NaN
            ]
            if near:
                out[start + i] = torch.stack(near).mean(0)
    return out


def network(**more) -> NeighbourNetwork:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    built: NeighbourNetwork = neighbour_mil(SPEC, hidden=[5], **more).eval()
    return built


@pytest.mark.parametrize("reach", [1, 2])
def test_neighbours_are_those_of_all_pairs(reach: int) -> None:
    batch = bags()
    cells = cells_around(batch.coords, segment_ids(batch.offsets, len(batch.x)), reach, torch)
    seen = neighbour_means(batch.x, *cells)
    arrays = cells_around(batch.coords.numpy(), np.repeat(np.arange(len(LENGTHS)), LENGTHS), reach, np)
    for one, other in zip(cells, arrays, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)
    torch.testing.assert_close(seen, around(batch, batch.x, reach), rtol=0, atol=1e-5)
    assert (seen[:12].abs().sum(1) > 0).any() and (seen[43:] == 0).all()


def test_logits_are_those_of_the_equations() -> None:
    net, batch = network(rounds=2), bags()
    h = net.embed(batch.x)
    for layer in net.around:
        both = torch.cat([h, around(batch, h, 1)], 1)
        h = h + torch.relu(both @ layer.join.weight.T + layer.join.bias)
    expected = []
    for part in h.split(LENGTHS):
        inner = torch.tanh(net.weigh.tanh(part)) * torch.sigmoid(net.weigh.gate(part))
        expected.append(net.head((torch.softmax(inner @ net.weigh.score.weight[0], 0)[:, None] * part).sum(0)))
    torch.testing.assert_close(net(batch), torch.stack(expected), rtol=0, atol=1e-6)


def test_neither_order_nor_batch_mates_nor_the_origin_matter_but_places_do() -> None:
    net, batch = network(), bags()
    whole = net(batch)
    torch.testing.assert_close(net(batch.alone(2))[0], whole[2])
    order = torch.cat([torch.randperm(n) + start for n, start in zip(LENGTHS, batch.offsets.tolist(), strict=False)])
    torch.testing.assert_close(net(Packed(batch.x[order], batch.offsets, batch.coords[order])), whole)
    torch.testing.assert_close(net(batch._replace(coords=batch.coords + 1000)), whole)
    moved = net(batch._replace(coords=batch.coords * 9))
    assert (moved[0] - whole[0]).abs().max() > 1e-4
    torch.testing.assert_close(moved[3], whole[3])


def test_contributions_sum_to_the_logits_and_every_weight_learns() -> None:
    net, batch = network(dropout=0.1, instance_dropout=0.2), bags()
    evidence = net.evidence(batch)
    for part, logit in zip(evidence.contributions.split(LENGTHS), evidence.logits, strict=True):
        torch.testing.assert_close(part.sum(0), logit)
    nn.functional.cross_entropy(net.train()(batch), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_bags_without_any_places_are_refused() -> None:
    with pytest.raises(UsageError, match="none of these bags has coordinates"):
        network()(bags()._replace(coords=None))


def test_it_learns_what_only_neighbours_tell() -> None:
    """Each bag holds two kinds of tiles; in positive ones they lie side by side."""
    draw = torch.Generator().manual_seed(0)

    def drawn() -> tuple[Packed, Tensor]:
        y = torch.arange(120) % 2
        x = torch.randn(120, 25, 4, generator=draw)
        grid = torch.stack(torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"), -1).reshape(25, 2).float()
        for bag in range(120):
            x[bag, 0, 0] += 6
            x[bag, 1 if y[bag] else 24, 1] += 6
        return Packed(x.flatten(0, 1), segment_offsets([25] * 120), grid.repeat(120, 1)), y.float()[:, None]

    (train, y), (test, _) = drawn(), drawn()
    areas = []
    for builder in (attention_mil, neighbour_mil):
        torch.manual_seed(0)
        net = builder(DataSpec.of("binary", ("0", "1"), 4), hidden=[16])
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(net(train), y).backward()
            optimizer.step()
        areas.append(roc_auc_score(y[:, 0], net.eval()(test)[:, 0].detach()))
    assert areas[0] < 0.7 and areas[1] > 0.95
