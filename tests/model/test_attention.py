"""Attention pooling: starts as the average, learns, sums to 1, and leaves logits logits."""

import pytest
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.model import attention_map, convnext_tiny, densenet121, efficientnet_b0, has_attention, resnet18
from medtrain.model.attention import AttentionMap, AttentionPool
from medtrain.target import DataSpec

THREE = DataSpec.of("multiclass", ("a", "b", "c"), channels=1, size=(64, 64))
EACH = [resnet18, densenet121, efficientnet_b0, convnext_tiny]


def test_the_pool_is_the_weighted_mean_written_out():
    torch.manual_seed(0)
    pool, x = AttentionPool(5).double(), torch.rand(2, 5, 3, 4, dtype=torch.double)
    nn.init.normal_(pool.map.score.weight)
    v, b, w = pool.map.hidden.weight[:, :, 0, 0], pool.map.hidden.bias, pool.map.score.weight[0, :, 0, 0]
    for image, pooled in zip(x, pool(x), strict=True):
        h = image.flatten(1).T  # a row a position, as the instances of Ilse et al., equations 7 and 8
        score = torch.tensor([float(w @ torch.tanh(v @ row + b)) for row in h], dtype=torch.double)
        a = score.exp() / score.exp().sum()
        torch.testing.assert_close(pooled.flatten(), (a[:, None] * h).sum(0))


@pytest.mark.parametrize("build", EACH)
def test_it_starts_as_the_average_and_pretrained_weights_behave_as_before(build, tmp_path):
    plain = build(THREE).eval()
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    attentive = build(THREE, weights=str(tmp_path / "plain.pth"), attention=True).eval()
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(attentive(x), plain(x), rtol=1e-4, atol=1e-5)
        a = attention_map(attentive, x)
    torch.testing.assert_close(a.sum((1, 2)), torch.ones(2))
    torch.testing.assert_close(a, torch.full_like(a, 1 / a[0].numel()))


@pytest.mark.parametrize("build", EACH)
def test_the_branch_learns_and_what_comes_out_are_logits(build):
    torch.manual_seed(0)
    network = build(THREE, attention=True, stem="small").to(memory_format=torch.channels_last)
    x, y = torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for step in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        if step == 0:
            optimizer.step()
    (pool,) = [m for m in network.modules() if isinstance(m, AttentionPool)]
    for parameter in pool.parameters():
        assert parameter.grad.abs().sum() > 0
    logits = network.eval()(x)
    assert not torch.allclose(logits.sum(1), torch.ones(4), atol=1e-3)  # a softmax in the network would sum to 1
    a = attention_map(network, x)
    torch.testing.assert_close(a.sum((1, 2)), torch.ones(4))
    assert a.std() > 0


def test_it_finds_what_a_mean_dilutes():
    """One bright position in 64 decides: after training the map lies on it."""
    torch.manual_seed(0)
    x, y = torch.rand(64, 4, 8, 8), torch.arange(64) % 2
    where = torch.randint(0, 64, (64,))
    for i in range(64):
        x[i, :2].flatten(1)[int(y[i]), where[i]] = 5.0  # which of two channels is bright is the class
    pool, head = AttentionPool(4), nn.Linear(4, 2)
    optimizer = torch.optim.Adam([*pool.parameters(), *head.parameters()], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(pool(x).flatten(1)), y).backward()
        optimizer.step()
    share = pool.map(x).flatten(1).gather(1, where[:, None])
    assert share.mean() > 0.5  # chance is 1/64


def test_a_map_of_a_network_without_one():
    assert not has_attention(resnet18(THREE)) and has_attention(resnet18(THREE, attention=True))
    with pytest.raises(UsageError, match=r"model\.attention=true"):
        attention_map(resnet18(THREE), torch.rand(1, 1, 64, 64))
    half = AttentionMap(3).to(torch.bfloat16)(torch.rand(1, 3, 4, 4, dtype=torch.bfloat16))
    assert half.shape == (1, 1, 4, 4)
