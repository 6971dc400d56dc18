"""Weights by name and from files: what fits is loaded, heads may differ, all else is an error that says so."""

import logging
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.model import densenet121, load_weights, resnet18, warm_start
from medtrain.target import DataSpec

GREY = DataSpec.of("binary", ("no", "yes"), channels=1, size=(64, 64))
THREE = DataSpec.of("multiclass", ("a", "b", "c"), channels=1, size=(64, 64))
KINDS = {"plain": (None, ""), "ddp": ("model", "module."), "lightning": ("state_dict", "model."),
         "compiled": ("state_dict", "model._orig_mod.")}  # fmt: skip


@pytest.fixture
def trained():
    return models.resnet18(weights=None, num_classes=5)


def same(network, trained, but=("fc.", "conv1.weight")):
    state = trained.state_dict()
    return all(torch.equal(v, state[k]) for k, v in network.state_dict().items() if not k.startswith(but))


@pytest.mark.parametrize(("wrapper", "prefix"), KINDS.values(), ids=KINDS)
def test_files_of_all_kinds(tmp_path, trained, wrapper, prefix, caplog):
    state = {prefix + k: v for k, v in trained.state_dict().items()}
    if wrapper == "state_dict":
        state["loss.pos_weight"] = torch.ones(3)
    file = tmp_path / "weights.pth"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, file)
    with caplog.at_level(logging.INFO, logger="medtrain"):
        network = resnet18(THREE, weights=str(file))
    assert same(network, trained)
    torch.testing.assert_close(network.conv1.weight, trained.conv1.weight.sum(1, keepdim=True))
    assert "head of another width skipped: fc.weight, fc.bias" in caplog.text


def test_round_trip_is_exact(tmp_path):
    first = resnet18(THREE, dropout=0.2)
    save_file(first.state_dict(), tmp_path / "a.safetensors")
    second = resnet18(THREE, weights=str(tmp_path / "a.safetensors"))
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())


def test_grey_network_from_rgb_weights_sees_grey_as_rgb_did(tmp_path, trained):
    torch.save(trained.state_dict(), tmp_path / "rgb.pt")
    spec = DataSpec.of("multiclass", tuple("abcde"), channels=1, size=(64, 64))
    grey = resnet18(spec, weights=str(tmp_path / "rgb.pt")).double().eval()
    x = torch.rand(1, 1, 64, 64, dtype=torch.double)
    expected = trained.double().eval()(x.expand(-1, 3, -1, -1))
    torch.testing.assert_close(grey(x), expected, rtol=1e-4, atol=1e-4)  # the sum was taken in float32


def test_a_weight_name_uses_the_hub_cache(tmp_path, monkeypatch, trained):
    name = models.ResNet18_Weights.IMAGENET1K_V1.url.rsplit("/", 1)[-1]
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(trained.state_dict(), tmp_path / "checkpoints" / name)
    for weights in ("imagenet1k_v1", "Default", "ResNet18_Weights.IMAGENET1K_V1"):
        network = models.resnet18(weights=None, num_classes=2)
        load_weights(network, weights, models.ResNet18_Weights)
        assert same(network, trained)


def test_a_failed_download_says_where_the_file_goes(tmp_path, monkeypatch):
    def offline(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(MedtrainError, match="no route to host") as caught:
        resnet18(GREY, weights="DEFAULT")
    assert str(tmp_path / "checkpoints" / "resnet18-f37072fd.pth") in str(caught.value)
    assert "weights=FILE" in str(caught.value)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("weights", ["imagenet", "missing.pth"])
def test_neither_name_nor_file(weights):
    with pytest.raises(UsageError, match=f"{weights}.*none, IMAGENET1K_V1, DEFAULT"):
        resnet18(GREY, weights=weights)


def test_weights_of_another_network(tmp_path, trained):
    torch.save(models.resnet50(weights=None).state_dict(), tmp_path / "r50.pth")
    with pytest.raises(MedtrainError, match=r"another network.*layer1\.0\.conv1\.weight \[64, 64, 1, 1\] for"):
        resnet18(GREY, weights=str(tmp_path / "r50.pth"))
    torch.save({"encoder.w": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(MedtrainError, match=r"no key matches.*conv1\.weight.*given encoder\.w"):
        resnet18(GREY, weights=str(tmp_path / "other.pth"))
    with pytest.raises(MedtrainError, match="nothing but the head"):
        warm_start(resnet18(GREY), {"fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)})


@pytest.mark.parametrize("content", [b"hello world" * 99, b"", b"PK\x03\x04damaged"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_damaged_files(tmp_path, content, suffix):
    file = tmp_path / f"bad.{suffix}"
    file.write_bytes(content)
    with pytest.raises(MedtrainError, match=f"bad.{suffix}"):
        load_weights(torch.nn.Linear(1, 1), str(file))


def test_files_that_could_run_code_or_hold_nothing(tmp_path):
    torch.save({"state_dict": {}, "path": Path("a")}, tmp_path / "objects.ckpt")
    with pytest.raises(MedtrainError, match="could run code"):
        load_weights(torch.nn.Linear(1, 1), str(tmp_path / "objects.ckpt"))
    torch.save({"epoch": 1}, tmp_path / "empty.ckpt")
    with pytest.raises(MedtrainError, match="holds no state dict"):
        load_weights(torch.nn.Linear(1, 1), str(tmp_path / "empty.ckpt"))


def test_densenet_weights_as_published_with_their_old_names(tmp_path):
    trained = models.densenet121(weights=None, num_classes=7)
    old = {}
    for key, value in trained.state_dict().items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            if "denselayer" in key:
                key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        old[key] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "densenet.pth")
    network = densenet121(GREY, weights=str(tmp_path / "densenet.pth"))
    assert same(network, trained, but=("classifier", "features.conv0"))


def test_warm_start_returns_what_it_skipped(trained, caplog):
    state = trained.state_dict()
    del state["layer4.1.conv2.weight"]
    assert warm_start(resnet18(THREE), state) == ["layer4.1.conv2.weight", "fc.weight", "fc.bias"]
    assert "1 of 122 tensors" in caplog.text
    assert warm_start(models.resnet18(weights=None, num_classes=5), trained.state_dict()) == []
