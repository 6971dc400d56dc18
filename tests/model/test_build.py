"""Any builder gets what the data decide, and nothing that the user set is changed."""

import pytest
import torch
from torch import nn
from torchvision import models

from medtrain.core.errors import UsageError
from medtrain.model import build_model, fill_from_spec, fit_channels, resnet18
from medtrain.target import DataSpec

timm = pytest.importorskip("timm")

GREY = DataSpec.of("multiclass", ("a", "b", "c"), channels=1, size=(64, 64))
VOLUME = DataSpec.of("binary", ("a", "b"), channels=2, size=(16, 16, 16))


class Base(nn.Module):
    def __init__(self, spatial_dims: int, n_input_channels: int = 3, num_classes: int = 400) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_input_channels, num_classes, 1)
        self.spatial_dims = spatial_dims


class Derived(Base):
    def __init__(self, depth: int, **kwargs: object) -> None:
        super().__init__(**kwargs)


def derived(pretrained: bool = False, **kwargs: object) -> Derived:
    return Derived(10, **kwargs)


def opaque(**kwargs: object) -> "Unknown":  # noqa: F821
    return kwargs


def test_fills_by_name():
    assert fill_from_spec(resnet18, {"dropout": 0.1}, GREY) == {"dropout": 0.1, "spec": GREY}
    three = {"spatial_dims": 3, "n_input_channels": 2, "num_classes": 1}
    for builder in (Base, Derived, derived):
        assert fill_from_spec(builder, {}, VOLUME) == three
    assert fill_from_spec(opaque, {"a": 1}, VOLUME) == {"a": 1}
    assert fill_from_spec(timm.create_model, {"model_name": "m"}, GREY) == {
        "model_name": "m", "num_classes": 3, "in_chans": 1,
    }  # fmt: skip
    assert fill_from_spec(models.mobilenet_v3_small, {}, GREY) == {"num_classes": 3}


def test_the_user_wins():
    def network(num_classes: int, out_channels: int, in_channels: int = 1) -> nn.Module: ...

    assert fill_from_spec(network, {}, GREY) == {"num_classes": 3, "in_channels": 1}
    assert fill_from_spec(network, {"out_channels": 9, "in_channels": 4}, GREY) == {"out_channels": 9, "in_channels": 4}


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [(models.mobilenet_v3_small, {}), (timm.create_model, {"model_name": "resnet10t"}), (resnet18, {"dropout": 0.1})],
)
def test_builds_networks_of_every_library(builder, arguments):
    network = build_model(builder, arguments, GREY).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 1, 64, 64)).shape == (1, 3)


def test_torchvision_weights_for_other_classes_and_channels(tmp_path):
    trained = models.mobilenet_v3_small(weights=None)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    network = build_model(models.mobilenet_v3_small, {"weights": str(tmp_path / "w.pth")}, GREY)
    torch.testing.assert_close(network.features[0][0].weight, trained.features[0][0].weight.sum(1, keepdim=True))
    assert torch.equal(network.classifier[0].weight, trained.classifier[0].weight)
    assert network.classifier[3].out_features == 3
    with pytest.raises(UsageError, match="IMAGENET1K_V1"):
        build_model(models.mobilenet_v3_small, {"weights": "nonsense"}, GREY)
    build_model(models.mobilenet_v3_small, {"weights": None}, GREY)


def test_fit_channels():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    before = network[0].weight.detach().clone()
    assert fit_channels(network, GREY) and not fit_channels(network, GREY)
    assert network[0].in_channels == 1 and network(torch.rand(1, 1, 8, 8)).shape == (1, 4, 6, 6)
    torch.testing.assert_close(network[0].weight.detach(), before.sum(1, keepdim=True))
    assert not fit_channels(nn.Linear(3, 4), GREY)
    assert not fit_channels(nn.Conv2d(3, 4, 1), DataSpec.of("binary", ("a", "b"), 512))
    with pytest.raises(UsageError, match="3 groups"):
        fit_channels(nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)), GREY)
    assert fit_channels(bare := nn.Conv2d(3, 4, 1), GREY) and bare.in_channels == 1


def test_what_is_no_network_is_refused():
    with pytest.raises(UsageError, match="built a dict"):
        build_model(opaque, {}, GREY)
