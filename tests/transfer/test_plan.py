"""Freezing, rates by depth, decay: against what torch's own optimizers do with hand-made groups."""

import copy

import pytest
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.model import resnet18
from medtrain.scheduler import cosine
from medtrain.target import DataSpec
from medtrain.transfer import Transfer
from medtrain.transfer.plan import scale_rates

GREY = DataSpec.of("binary", ("no", "yes"), channels=1, size=(32, 32))


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1),
    )  # fmt: skip


def train(network, plan, epochs=range(4), distributed=False, optimizer=None):
    optimizer = optimizer or torch.optim.AdamW(plan.groups(network), lr=0.01, weight_decay=0.1)
    scale_rates(optimizer)
    for epoch in epochs:
        network.train()
        plan.enter_epoch(network, epoch, distributed)
        torch.manual_seed(epoch)
        optimizer.zero_grad()
        network(torch.rand(8, 1, 12, 12)).square().mean().backward()
        plan.drop_gradients(network, epoch)
        optimizer.step()
    return optimizer


def same(a, b, but=()):
    mine, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(mine[k], theirs[k]) for k in mine if not k.startswith(tuple(but)))


def test_the_default_changes_nothing():
    plain, ours = small(), small()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.1)
    for epoch in range(4):
        torch.manual_seed(epoch)
        optimizer.zero_grad()
        plain(torch.rand(8, 1, 12, 12)).square().mean().backward()
        optimizer.step()
    made = train(ours, Transfer())
    assert same(plain, ours) and Transfer().idle
    assert len(made.param_groups) == 1 and set(made.param_groups[0]) == set(optimizer.param_groups[0])


@pytest.mark.parametrize("distributed", [False, True])
def test_frozen_weights_and_statistics_stay_to_the_bit_and_then_train(distributed):
    network, plan = small(), Transfer(freeze_epochs=2)
    before = copy.deepcopy(network)
    optimizer = train(network, plan, range(2), distributed)
    assert same(network, before, but=["7."]) and not torch.equal(network[7].weight, before[7].weight)
    assert not network[4].training and network[7].training  # no dropout in frozen features
    assert network[0].weight.requires_grad == distributed
    train(network, plan, range(2, 4), distributed, optimizer)
    assert not torch.equal(network[0].weight, before[0].weight)
    assert not torch.equal(network[1].running_mean, before[1].running_mean)
    assert network[4].training and network[0].weight.requires_grad
    always, plan = small(), Transfer(freeze_epochs=-1)
    train(always, plan, range(50, 52), distributed)
    assert same(always, before, but=["7."])


def test_ddp_s_way_of_freezing_gives_the_same_weights():
    alone, several = small(), small()
    train(alone, Transfer(freeze_epochs=2, freeze_norm=True))
    train(several, Transfer(freeze_epochs=2, freeze_norm=True), distributed=True)
    assert same(alone, several)


def test_frozen_norms_stay_and_the_rest_trains():
    network = small()
    before = copy.deepcopy(network)
    train(network, Transfer(freeze_norm=True))
    assert same(network[1], before[1]) and same(network[3], before[3])
    assert not torch.equal(network[0].weight, before[0].weight)


def test_what_the_network_holds_fixed_stays_fixed():
    network = small()
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    train(network, Transfer(freeze_epochs=1))
    assert torch.equal(network[0].weight, before) and not network[0].weight.requires_grad


def test_rates_and_decay_of_each_group():
    network = resnet18(GREY, attention=True)
    plan = Transfer(layer_decay=0.5, head_lr=10, decay_norm=False)
    optimizer = torch.optim.AdamW(plan.groups(network, [nn.Parameter(torch.ones(2, 2))]), lr=1e-2, weight_decay=0.1)
    scale_rates(optimizer)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(found) == len([*network.parameters()]) + 1
    for name, parameter in network.named_parameters():
        part = name.split(".")[0]
        rate = {"conv1": 6.25e-4, "bn1": 6.25e-4, "layer1": 1.25e-3, "layer2": 2.5e-3, "layer3": 5e-3,
                "layer4": 1e-2, "avgpool": 0.1, "fc": 0.1}[part]  # fmt: skip
        assert found[id(parameter)] == (pytest.approx(rate), 0.1 if parameter.ndim > 1 else 0.0), name
    peaks = [group["lr"] for group in optimizer.param_groups]
    schedule = cosine(optimizer, total_steps=10, warmup=0.0)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([p / 2 for p in peaks])  # cosine's middle


def test_a_run_resumed_across_the_unfreezing_goes_on_to_the_bit():
    whole, first = small(), small()
    plan = Transfer(freeze_epochs=2, layer_decay=0.5)
    train(whole, plan)
    optimizer = train(first, plan, range(1))
    second, saved = small(), optimizer.state_dict()
    second.load_state_dict(first.state_dict())
    again = Transfer(freeze_epochs=2, layer_decay=0.5)
    fresh = torch.optim.AdamW(again.groups(second), lr=0.01, weight_decay=0.1)
    scale_rates(fresh)
    fresh.load_state_dict(saved)
    train(second, again, range(1, 4), optimizer=fresh)
    assert same(whole, second)


def test_it_says_what_trains():
    text = Transfer(freeze_epochs=3, layer_decay=0.5, head_lr=10).describe(resnet18(GREY), 1e-3)
    assert text == (
        "transfer: 513 weights of the head train at 0.01; 11,170,240 frozen for 3 epochs, "
        "then at 6.25e-05 to 0.001, by depth"
    )
    assert "11,170,240 frozen" in Transfer(freeze_epochs=-1).describe(resnet18(GREY), 1e-3)
    assert "of batch norms never" in Transfer(freeze_norm=True).describe(resnet18(GREY), 1e-3)
    assert Transfer().describe(nn.Linear(2, 1), 1.0)


@pytest.mark.parametrize("wrong", [{"freeze_epochs": -2}, {"layer_decay": 0.0}, {"layer_decay": 1.5}, {"head_lr": 0.0}])
def test_values_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Transfer(**wrong)
