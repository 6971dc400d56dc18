"""Networks for bags against the papers' formulas on each bag alone, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_offsets
from medtrain.model import mil
from medtrain.target import DataSpec

SPEC = DataSpec.of("multiclass", ("a", "b", "c"), 6)
LENGTHS = [4, 1, 7]
BUILDERS = (mil.mean_mil, mil.max_mil, mil.topk_mil, mil.attention_mil, mil.gated_attention_mil)


def bags(lengths: list[int] = LENGTHS) -> Packed:
    draw = torch.Generator().manual_seed(1)
    return Packed(torch.randn(sum(lengths), 6, generator=draw), segment_offsets(lengths))


def network(builder, **more) -> mil.BagNetwork:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    built: mil.BagNetwork = builder(SPEC, hidden=[5], **more).eval()
    return built


def reference(net: mil.BagNetwork, x_nD: Tensor) -> Tensor:
    """Logits of one bag, pooled feature by feature as the papers have it."""
    h = net.embed(x_nD)
    weigh = net.weigh
    if isinstance(weigh, mil.Mean):
        return net.head(h.mean(0))
    if isinstance(weigh, mil.TopK):
        return net.head(h).topk(min(weigh.k, len(h)), dim=0).values.mean(0)
    assert isinstance(weigh, mil.Attention)
    inner = torch.tanh(weigh.tanh(h)) * (1 if weigh.gate is None else torch.sigmoid(weigh.gate(h)))
    attention = torch.softmax(inner @ weigh.score.weight[0], 0)
    return net.head((attention[:, None] * h).sum(0))


@pytest.mark.parametrize("builder", BUILDERS)
def test_each_bag_as_if_alone(builder) -> None:  # type: ignore[no-untyped-def]
    net, batch = network(builder), bags()
    expected = torch.stack([reference(net, part) for part in batch.x.split(LENGTHS)])
    torch.testing.assert_close(net(batch), expected)


@pytest.mark.parametrize("builder", BUILDERS)
def test_neither_order_nor_batch_mates_matter(builder) -> None:  # type: ignore[no-untyped-def]
    net, batch = network(builder), bags()
    whole = net(batch)
    shuffled = torch.cat([part[torch.randperm(len(part))] for part in batch.x.split(LENGTHS)])
    torch.testing.assert_close(net(Packed(shuffled, batch.offsets)), whole)
    torch.testing.assert_close(net(Packed(batch.x[5:], torch.tensor([0, 7])))[0], whole[2])


@pytest.mark.parametrize("builder", BUILDERS)
def test_contributions_sum_to_the_logits_and_weights_to_one(builder) -> None:  # type: ignore[no-untyped-def]
    net, batch = network(builder), bags()
    logits, weights, scores, _ = net.evidence(batch)
    parts = zip((weights * scores).split(LENGTHS), weights.split(LENGTHS), logits, strict=True)
    for contributed, weight, logit in parts:
        torch.testing.assert_close(contributed.sum(0), logit)
        torch.testing.assert_close(weight.sum(0), torch.ones(weight.shape[1]))


def test_standardised_with_the_specs_statistics_which_the_weights_keep() -> None:
    batch = bags()
    mean, std = batch.x.mean(0), batch.x.std(0)
    spec = DataSpec.of("binary", ("0", "1"), 6, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    net = mil.mean_mil(spec, hidden=[5]).eval()
    plain = mil.mean_mil(DataSpec.of("binary", ("0", "1"), 6), hidden=[5]).eval()
    plain.load_state_dict(net.state_dict())
    torch.testing.assert_close(plain(batch), net(batch))
    plain.mean.zero_(), plain.std.fill_(1)
    torch.testing.assert_close(plain(Packed((batch.x - mean) / std, batch.offsets)), net(batch))


def test_dropped_instances_leave_one_in_each_bag() -> None:
    torch.manual_seed(0)
    x, offsets = mil.drop_instances(bags([1] * 50 + [1000]), 0.9)
    lengths = offsets.diff().tolist()
    assert lengths[:50] == [1] * 50
    assert 60 < lengths[50] < 140  # 5 standard deviations of 100
    assert len(x) == sum(lengths)


def test_every_weight_learns() -> None:
    net = network(mil.gated_attention_mil, dropout=0.1, instance_dropout=0.2).train()
    nn.functional.cross_entropy(net(bags()), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("channels", [166, 1024, 2048])
def test_the_input_layer_stays_small(channels: int) -> None:
    net = mil.gated_attention_mil(DataSpec.of("binary", ("0", "1"), channels))
    assert sum(p.numel() for p in net.parameters()) < 1.5e6


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"instance_dropout": -0.1}])
def test_shares_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        mil.mean_mil(SPEC, **wrong)
    with pytest.raises(UsageError, match="k=0"):
        mil.topk_mil(SPEC, k=0)


def test_half_precision_features_are_scored_in_full() -> None:
    net, batch = network(mil.attention_mil), bags([20_000])
    half = net(Packed(batch.x.half().float(), batch.offsets))
    assert np.isfinite(half.detach().numpy()).all()
