"""The parts of a network, in order, whoever wrote it."""

import pytest
import torch
from torch import nn

from medtrain.core.stages import stages
from medtrain.model import densenet121, resnet18
from medtrain.target import DataSpec

GREY = DataSpec.of("binary", ("no", "yes"), channels=1, size=(64, 64))
WANTED = {
    "resnet10t": "conv1 layer1 layer2 layer3 layer4 fc",
    "convnext_atto": "stem stages.0 stages.1 stages.2 stages.3 head",
    "efficientnet_b0": "conv_stem " + " ".join(f"blocks.{i}" for i in range(7)) + " conv_head classifier",
    "vit_tiny_patch16_224": "patch_embed " + " ".join(f"blocks.{i}" for i in range(12)) + " head",
}


def names(network):
    return " ".join(stage.name for stage in stages(network))


def test_ours():
    with torch.device("meta"):
        assert names(resnet18(GREY)) == "conv1 layer1 layer2 layer3 layer4 fc"
        found = stages(network := densenet121(GREY, attention=True))
    blocks = ["denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3", "denseblock4"]
    assert [s.name for s in found] == [f"features.{b}" for b in ("conv0", *blocks)] + ["classifier"]
    assert found[-1].modules == [network.classifier, network.features.pool5]  # attention is of the head
    assert found[0].modules[:2] == [network.features.conv0, network.features.norm0]


@pytest.mark.parametrize("name", WANTED)
def test_timm(name):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=2)
    assert names(network) == WANTED[name]
    found = [id(p) for stage in stages(network) for p in stage.parameters()]
    assert sorted(found) == sorted(id(p) for p in network.parameters())  # each once, tokens and positions too
    assert len(stages(network)[0].loose) == (2 if name.startswith("vit") else 0)


def test_wrapped_and_tiny():
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(2, 1))
    assert names(nn.ModuleDict({"net": inner})) == "net.0 net.2 net.4"
    assert names(nn.Linear(2, 1)) == "all"
