"""Columns fused with features: an XOR of both is learned, networks are unchanged at first, bags keep their evidence."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medtrain.core.covariates import Covariate, encoded, learned
from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.model import fuse, gated_attention_mil, resnet18, show_columns, transmil
from medtrain.target import DataSpec

How = Literal["concat", "film"]
SEX = Covariate("sex", "category", categories=("f", "m"))
AGE = Covariate("age", "number", mean=50.0, std=10.0, low=20.0, high=80.0)
BOTH: tuple[How, ...] = ("concat", "film")


def tiny() -> nn.Module:
    head = nn.Linear(16, 1)
    return nn.Sequential(nn.Conv2d(1, 16, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


@pytest.mark.parametrize("missing", [0.0, 1 / 3])
@pytest.mark.parametrize("how", BOTH)
def test_what_neither_half_tells_is_learned(how: How, missing: float) -> None:
    draw = np.random.default_rng(1)
    torch.manual_seed(0)
    train, whole = 300, 500
    sign_N, sex_N = draw.integers(0, 2, whole), draw.integers(0, 2, whole)
    x = torch.tensor(draw.normal(-0.5, 0.5, (whole, 1, 8, 8)) + sign_N[:, None, None, None]).float()
    known_N = draw.random(whole) >= missing
    names_N = np.where(known_N, np.array(["f", "m"])[sex_N], "").astype(object)
    sex = learned("sex", "category", names_N[:train])
    columns = torch.tensor(sex.coded(names_N)[:, None]).float()
    y = torch.tensor(sign_N ^ sex_N).float()[:, None]
    network = fuse(tiny(), DataSpec.of("binary", ("0", "1"), 1, (8, 8), covariates=(sex,)), how)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(25):
        for rows in torch.randperm(train).split(50):
            show_columns(network, columns[rows])
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(network(x[rows]), y[rows]).backward()
            optimizer.step()
    show_columns(network, columns[train:])
    right = ((network(x[train:]) > 0) == (y[train:] > 0.5))[:, 0].numpy()
    assert right[known_N[train:]].mean() > 0.95
    halves = [np.corrcoef(half, y[:, 0])[0, 1] for half in (sign_N, sex_N)]
    assert np.abs(halves).max() < 0.15  # neither tells anything


@pytest.mark.parametrize("how", BOTH)
def test_a_fresh_fusion_changes_nothing(how: How) -> None:
    spec = DataSpec.of("multiclass", ("a", "b", "c"), 1, (32, 32), covariates=(SEX, AGE))
    torch.manual_seed(0)
    network = resnet18(spec).eval()
    x = torch.randn(2, 1, 32, 32)
    before = network(x)
    names = set(network.state_dict())
    fuse(network, spec, how)
    assert names < set(network.state_dict())  # weights keep their names
    with pytest.raises(RuntimeError, match="has been given none"):
        network(x)
    show_columns(network, torch.tensor([[1.0, 60.0]]))
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("how", BOTH)
def test_bags_keep_their_evidence_and_their_own_columns(how: How) -> None:
    spec = DataSpec.of("binary", ("0", "1"), 5, covariates=(SEX, AGE))
    torch.manual_seed(0)
    network = fuse(gated_attention_mil(spec, instance_dropout=0.5), spec, how).eval()
    nn.init.normal_(network.beside.out.weight)  # type: ignore[union-attr,arg-type]
    bags = Packed(torch.randn(7, 5), torch.tensor([0, 3, 7]), None, torch.tensor([[0.0, 60.0], [1.0, float("nan")]]))
    evidence = network.evidence(bags)  # type: ignore[operator]
    added = evidence.contributions.split([3, 4])
    torch.testing.assert_close(torch.stack([part.sum(0) for part in added]), evidence.logits)
    for number in range(2):
        torch.testing.assert_close(network(bags.alone(number)), evidence.logits[number : number + 1])
    other = bags._replace(columns=bags.columns.flip(0))  # type: ignore[union-attr]
    assert not torch.allclose(network(other), evidence.logits)
    assert network.train()(bags).shape == (2, 1)  # of the instances that dropout leaves


def test_networks_of_a_class_token_fuse_too() -> None:
    spec = DataSpec.of("binary", ("0", "1"), 8, covariates=(AGE,))
    network = fuse(transmil(spec, hidden=[16]), spec, "film").eval()
    bags = Packed(torch.randn(4, 8), torch.tensor([0, 4]), None, torch.tensor([[55.0]]))
    assert network(bags).shape == (1, 1)


def test_members_know_their_own_vocabulary() -> None:
    union = Covariate("stage", "category", categories=("I", "II", "III"))
    own = Covariate("stage", "category", categories=("II", "III"))
    columns = torch.tensor([[0.0], [1.0], [2.0], [float("nan")]])
    assert encoded([own], columns, [union]).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_network_without_a_last_linear_layer_is_refused() -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (8, 8), covariates=(AGE,))
    convolutions = nn.Sequential(nn.Conv2d(1, 1, 8), nn.Flatten())
    with pytest.raises(UsageError, match="no last linear layer with 1 outputs"):
        fuse(convolutions, spec, "concat")
    assert fuse(convolutions, spec, "none") is convolutions
    with pytest.raises(UsageError, match="there are no columns beside the image"):
        fuse(convolutions, DataSpec.of("binary", ("0", "1"), 1, (8, 8)), "film")
