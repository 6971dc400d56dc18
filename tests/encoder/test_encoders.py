"""Encoders: frozen whatever happens, each with the preprocessing of its weights, weights from files of any naming."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm as timm_library
import torch
import torchvision as tv
from torch import nn

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.encoder import Encoder, descriptor, efficientnet_lite0, timm, torchvision
from medtrain.encoder.base import Preprocessing
from tests.slide_files import stained

TILES = torch.from_numpy(stained(256)[0].reshape(2, 128, 2, 128, 3).swapaxes(1, 2).reshape(4, 128, 128, 3).copy())


def test_nothing_drifts_and_nothing_is_trained() -> None:
    encoder = torchvision("resnet18", "none", size=64)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    first = encoder.train()(TILES)
    assert not encoder.training and not any(module.training for module in encoder.modules())
    assert torch.equal(encoder(TILES), first) and not first.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_features_of_a_tile_do_not_depend_on_the_others() -> None:
    for encoder in (descriptor(), torchvision("resnet18", "none", size=64)):
        whole = encoder(TILES)
        assert whole.shape == (4, encoder.dim)
        assert torch.allclose(torch.cat([encoder(TILES[i : i + 1]) for i in range(4)]), whole, atol=1e-4)


def test_torchvision_features_are_what_the_head_takes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = tv.models.resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    encoder = torchvision("resnet18", str(tmp_path / "w.pth"), size=128)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (TILES.permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        logits = network(x)
    assert torch.allclose(encoder(TILES) @ network.fc.weight.T + network.fc.bias, logits, atol=1e-4)
    assert (encoder.random, encoder.label) == (False, "resnet18 w.pth")
    assert torchvision("resnet18", "none").random


def test_preprocessing_is_that_of_the_weights() -> None:
    assert torchvision("resnet18", "none").preprocessing.size == 224
    inception = timm("tf_efficientnet_lite0", "none").preprocessing
    assert (inception.size, inception.mean, inception.resampling) == (224, (0.5, 0.5, 0.5), "bicubic")


def test_tiles_are_resized_whole_and_as_torch_does_it() -> None:
    x = Preprocessing(64, (0.5,) * 3, (0.25,) * 3)(TILES)
    expected = nn.functional.interpolate(TILES.permute(0, 3, 1, 2) / 255, (64, 64), mode="bilinear", antialias=True)
    assert torch.allclose(x, (expected - 0.5) / 0.25, atol=1e-5)


def test_lite0_takes_timms_names_and_the_ports(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm_library.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = network.state_dict()
    torch.save(state, tmp_path / "timm.pth")
    names = ["_conv_stem.weight"] + [f"_{number}" for number in range(1, len(state))]
    torch.save(dict(zip(names, state.values(), strict=True)), tmp_path / "port.pth")
    first, second = (efficientnet_lite0(str(tmp_path / f"{name}.pth"), size=64) for name in ("timm", "port"))
    assert first.dim == 1280 and torch.equal(first(TILES), second(TILES))
    assert first.fingerprint() == second.fingerprint()
    with torch.no_grad():
        logits = network(first.preprocessing(TILES))
    assert torch.allclose(first(TILES) @ network.classifier.weight.T + network.classifier.bias, logits, atol=1e-4)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"_conv_stem.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(MedtrainError, match="the weights are not EfficientNet-Lite0's"):
        efficientnet_lite0(str(tmp_path / "w.pth"))
    with pytest.raises(MedtrainError, match=r"encoder.weights=.*no key matches this ResNet"):
        torchvision("resnet18", str(tmp_path / "w.pth"))
    with pytest.raises(UsageError, match=r"encoder.weights=gone.pth: there is no such file"):
        timm("resnet18", "gone.pth")


def test_unknown_names_are_answered() -> None:
    with pytest.raises(UsageError, match="torchvision has no such network; did you mean 'resnet50'"):
        torchvision("resnet5")
    with pytest.raises(UsageError, match="timm has no such network"):
        timm("resnetx")
    with pytest.raises(UsageError, match="encoder.arguments: resnet18 refuses them"):
        timm("resnet18", "none", arguments={"wrong": 1})


def test_a_fingerprint_follows_weights_and_preprocessing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    same, other = Encoder(network, Preprocessing(), "a"), Encoder(network, Preprocessing(32), "a")
    before = same.fingerprint()
    assert before == Encoder(network, Preprocessing(), "another name").fingerprint() != other.fingerprint()
    network[0].bias.data[0] += 1e-3
    assert same.fingerprint() != before
    assert descriptor().fingerprint() == descriptor().fingerprint()


def test_the_descriptor_measures_stain_and_direction() -> None:
    stripes = torch.full((1, 64, 64, 3), 230, dtype=torch.uint8)
    stripes[:, ::8] = stripes[:, 1::8] = torch.tensor([120, 60, 160], dtype=torch.uint8)
    dots = torch.full((1, 64, 64, 3), 230, dtype=torch.uint8)
    dots[:, ::4, ::4] = dots[:, 1::4, 1::4] = torch.tensor([120, 60, 160], dtype=torch.uint8)
    one_way = descriptor()(torch.cat([stripes, dots]))[:, -2]
    assert one_way[0] > 0.95 and one_way[1] < 0.5
    blank = torch.full((1, 64, 64, 3), 255, dtype=torch.uint8)
    assert torch.isfinite(descriptor()(torch.cat([blank, 0 * blank]))).all()
