"""Networks for bags against the papers' formulas on each bag alone, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_offsets
from medtrain.model import bag_network, mil
from medtrain.model.positive_evidence import PositiveEvidence
from medtrain.target import DataSpec

SPEC = DataSpec.of("multiclass", ("a", "b", "c"), 6)
LENGTHS = [4, 1, 7]
BUILDERS = (mil.mean_mil, mil.max_mil, mil.topk_mil, mil.attention_mil, mil.gated_attention_mil)


def bags(lengths: list[int] = LENGTHS) -> Packed:
    draw = torch.Generator().manual_seed(1)
    return Packed(torch.randn(sum(lengths), 6, generator=draw), segment_offsets(lengths))


def network(builder, **more) -> bag_network.BagNetwork:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    built: bag_network.BagNetwork = builder(SPEC, hidden=[5], **more).eval()
    return built


def reference(net: bag_network.BagNetwork, x_nD: Tensor) -> Tensor:
    """Logits of one bag, pooled feature by feature as the papers have it."""
    h = net.embed(x_nD)
    weigh = net.weigh
    if isinstance(weigh, bag_network.Mean):
        return net.head(h.mean(0))
    if isinstance(weigh, bag_network.TopK):
        return net.head(h).topk(min(weigh.k, len(h)), dim=0).values.mean(0)
    assert isinstance(weigh, bag_network.Attention)
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
    logits, weights, scores, *_ = net.evidence(batch)
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
    x, offsets, *_ = bag_network.drop_instances(bags([1] * 50 + [1000]), 0.9)
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


YES_NO = DataSpec.of("multilabel", ("a", "b"), 6)


def positive(builder=mil.gated_attention_mil, **more) -> bag_network.BagNetwork:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    built: bag_network.BagNetwork = builder(YES_NO, hidden=[5], evidence="positive", **more).eval()
    return built


def test_positive_evidence_adds_odds_of_each_bag_alone() -> None:
    net, batch = positive(), bags()
    expected = []
    for part in batch.x.split(LENGTHS):
        h = net.embed(part)
        weigh = net.weigh
        gate = torch.sigmoid((torch.tanh(weigh.tanh(h)) * torch.sigmoid(weigh.gate(h))) @ weigh.score.weight[0])
        expected.append((gate[:, None] * net.head(h).exp()).sum(0).log())
    torch.testing.assert_close(net(batch), torch.stack(expected), rtol=0, atol=1e-6)
    evidence = net.evidence(batch)
    for part, logit in zip(evidence.contributions.split(LENGTHS), evidence.logits, strict=True):
        torch.testing.assert_close(part.sum(0), logit.exp())


@pytest.mark.parametrize("builder", [mil.attention_mil, mil.gated_attention_mil])
def test_no_instance_takes_evidence_from_a_bag(builder) -> None:  # type: ignore[no-untyped-def]
    net, batch = positive(builder), bags([30])
    before = net(Packed(batch.x[:1], torch.tensor([0, 1])))
    for n in range(2, 31):
        after = net(Packed(batch.x[:n], torch.tensor([0, n])))
        assert (after > before).all()
        before = after


def test_an_untrained_network_of_positive_evidence_is_undecided_however_large_the_bags() -> None:
    net = positive().train()
    batch = bags([3000, 5000])
    assert net.log_size == -1
    torch.testing.assert_close(net(batch).abs().max(), torch.tensor(0.0), rtol=0, atol=1.5)
    assert net.log_size.exp().item() == pytest.approx(4000)
    net(bags([7]))
    assert net.log_size.exp().item() == pytest.approx(4000)  # of the first batch alone


def test_instances_left_out_in_training_are_made_up_for() -> None:
    net, batch = positive(instance_dropout=0.5), bags([20_000])
    whole = net(batch)
    net.log_size.fill_(0)
    torch.testing.assert_close(net.train()(batch), whole, rtol=0, atol=0.05)


def test_evidence_is_refused_where_one_class_is_always_right() -> None:
    with pytest.raises(UsageError, match="evidence=positive is for classes that are there or not"):
        mil.attention_mil(SPEC, evidence="positive")
    assert isinstance(mil.attention_mil(YES_NO, evidence="positive"), PositiveEvidence)
    with pytest.raises(UsageError, match="evidence=none"):
        mil.attention_mil(YES_NO, evidence="none")


def test_positive_evidence_stays_right_where_negative_instances_move_to_positive_bags() -> None:
    """Raff and Holt 2023: attention learns that bags without the negatives' instances are positive."""
    draw = torch.Generator().manual_seed(0)

    def drawn(moved: bool) -> tuple[Packed, Tensor]:
        y = torch.arange(160) % 2 == 1
        x = torch.randn(160, 8, 6, generator=draw)
        x[y, 0, 0] += 5
        x[y if moved else ~y, 1:4, 1] += 8
        return Packed(x.flatten(0, 1), segment_offsets([8] * 160)), y.float()[:, None]

    (train, y), (moved, _) = drawn(False), drawn(True)
    areas = []
    for form in ("any", "positive"):
        torch.manual_seed(0)
        net = mil.attention_mil(DataSpec.of("binary", ("0", "1"), 6), hidden=[32], evidence=form)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(net(train), y).backward()
            optimizer.step()
        areas.append(roc_auc_score(y[:, 0], net.eval()(moved)[:, 0].detach()))
    assert areas[0] < 0.1 and areas[1] > 0.95
