"""Weights by name and from files: what fits is loaded, heads may differ, all else is an error that says so."""

import logging
import urllib.error
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

import medtrain.model
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


def test_warm_start_returns_what_it_skipped(trained):
    network = resnet18(THREE)
    assert warm_start(network, trained.state_dict()) == ["fc.weight", "fc.bias"]
    assert network.loaded == "120 tensors loaded; 2 left fresh (fc.weight, fc.bias)"
    assert warm_start(models.resnet18(weights=None, num_classes=5), trained.state_dict()) == []


def nested(state, kind):
    """The same weights, as trainers of several kinds save them."""
    if kind == "moco":  # two networks, of which the query's is for use, and a queue
        q = {f"module.encoder_q.{k}": v for k, v in state.items() if not k.startswith("fc.")}
        q |= {f"module.encoder_q.fc.{n}.weight": torch.ones(8, 512) for n in (0, 2)}
        k = {f"module.encoder_k.{k}": torch.zeros_like(v) for k, v in state.items()}
        return {"epoch": 3, "state_dict": q | k | {"module.queue": torch.ones(2, 3)}, "optimizer": {"state": {}}}
    return {
        "backbone": {"state_dict": {f"backbone.{k}": v for k, v in state.items() if not k.startswith("fc.")}},
        "model_state_dict": {"model_state_dict": state, "epoch": 1},
        "deeper": {"checkpoint": {"model": {f"module.model.{k}": v for k, v in state.items()}}},
        "lightning, compiled": {"state_dict": {f"model._orig_mod.module.{k}": v for k, v in state.items()}},
        "compiled layers": {k.replace("layer1.", "layer1._orig_mod."): v for k, v in state.items()},
        "dino": {
            "student": {k: v * 0 for k, v in state.items()},
            "teacher": {f"backbone.{k}": v for k, v in state.items()},
        },
        "any other word": {f"my_net.trunk.{k}": v for k, v in state.items()},
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "moco",
        "backbone",
        "model_state_dict",
        "deeper",
        "lightning, compiled",
        "compiled layers",
        "dino",
        "any other word",
    ],
)
def test_common_prefixes_and_wrappers(tmp_path, trained, kind):
    torch.save(nested(trained.state_dict(), kind), tmp_path / "w.pth")
    network = resnet18(THREE, weights=str(tmp_path / "w.pth"))
    assert same(network, trained) and network.loaded.startswith("120 tensors loaded; 2 left fresh (fc.weight, fc.bias)")
    if kind == "moco":
        assert "105 of the file are not of this network (module.encoder_q.fc.0.weight, " in network.loaded


DEEPER = models.resnet34(weights=None, num_classes=5).state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder_q."])
def test_another_body_is_refused_with_counts_and_names(prefix):
    with pytest.raises(
        MedtrainError, match=r"another network.* 80 of the file's have no place in it \(.*layer1\.2\.conv1"
    ):
        warm_start(resnet18(THREE), {prefix + k: v for k, v in DEEPER.items()})


def test_a_body_that_is_not_whole_is_refused(trained):
    fresh = models.resnet34(weights=None, num_classes=5)
    before = fresh.layer1[0].conv1.weight.clone()
    with pytest.raises(
        MedtrainError, match=r"matches \d+ of its 218 tensors, \d+ of its own are lacking \(layer1\.2\.conv1"
    ):
        warm_start(fresh, trained.state_dict())
    assert torch.equal(before, fresh.layer1[0].conv1.weight)  # nothing is half loaded
    state = trained.state_dict()
    for lost in ("layer4.1.conv2.weight", "bn1.running_mean", "layer2.0.downsample.0.weight"):
        with pytest.raises(MedtrainError, match=rf"1 of its own are lacking \({lost}\)"):
            warm_start(resnet18(THREE), {k: v for k, v in state.items() if k != lost})
    added = state | {"layer1.0.se.fc1.weight": torch.ones(3)}
    with pytest.raises(MedtrainError, match=r"1 of the file's have no place in it \(layer1\.0\.se\.fc1\.weight\)"):
        warm_start(resnet18(THREE), added)


def test_what_is_beside_the_network_is_told_and_left_out(trained):
    network = resnet18(THREE)
    extra = {"queue": torch.ones(1), "decoder.0.weight": torch.ones(2, 2), "projector.weight": torch.ones(2)}
    warm_start(network, {k: v for k, v in trained.state_dict().items() if not k.startswith("fc.")} | extra)
    assert same(network, trained)
    assert network.loaded.endswith("3 of the file are not of this network (queue, decoder.0.weight, projector.weight)")


def test_counters_of_old_files_are_none_of_it(trained):
    old = {k: v for k, v in trained.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert warm_start(resnet18(THREE), old) == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("name", ["densenet121", "efficientnet_b0", "convnext_tiny", "resnet50"])
def test_published_bodies_fit_also_with_attention_and_without_a_head(name):
    theirs = getattr(models, name)(weights=None).state_dict()
    body = {k: v for k, v in theirs.items() if not k.startswith(("fc.", "classifier."))}
    for state in (theirs, body):
        network = getattr(medtrain.model, name)(GREY, attention=True)
        skipped = warm_start(network, state)
        assert all(k.startswith(("fc.", "classifier.")) or ".map." in k for k in skipped), skipped


def changed(state, key, make):
    return {**state, key: make(state[key])}


def one_nan(weight):
    weight = weight.clone()
    weight.view(-1)[3] = float("nan")
    return weight


BAD_NUMBERS = {
    "int32": (lambda w: (w * 100).to(torch.int32), "is int32"),
    "uint8": (lambda w: w.to(torch.uint8), "is uint8"),
    "bool": (lambda w: w > 0, "is bool"),
    "complex": (lambda w: w.to(torch.complex64), "is complex64"),
    "quantized": (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "is qint8"),
    "sparse": (lambda w: w.to_sparse(), "is float32 in a sparse layout"),
    "nan": (one_nan, "has 1 of 294,912 values that are NaN or infinite"),
    "infinite": (lambda w: torch.full_like(w, float("-inf")), "has 294,912 of 294,912 values that are NaN or infinite"),
    "beyond float32": (lambda w: w.double() * 0 + 1e300, "has 294,912 of 294,912 values that are NaN or infinite"),
}


@pytest.mark.parametrize(("make", "why"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_cant_be_weights_are_refused_by_name(trained, make, why):
    key, network = "layer3.0.conv1.weight", resnet18(THREE)
    with pytest.raises(MedtrainError, match="tensors of the file can't be weights of this ResNet: conv1.weight"):
        warm_start(network, changed(trained.state_dict(), "conv1.weight", make))  # which would be folded
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(MedtrainError, match=f"1 of .* tensors of the file can't be weights of this .*: {key} {why}"):
        warm_start(network, changed(trained.state_dict(), key, make))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_cast(trained, kind):
    network = resnet18(THREE)
    state = {
        name: value.to(kind) if value.is_floating_point() else value for name, value in trained.state_dict().items()
    }
    warm_start(network, state)
    key = "layer3.0.conv1.weight"
    assert torch.equal(network.state_dict()[key], state[key].float())


def test_counters_are_whole_numbers_of_any_kind(trained):
    key, network = "bn1.num_batches_tracked", resnet18(THREE)
    for make in (lambda n: n.to(torch.int32) + 7, lambda n: n.float() + 7):
        warm_start(network, changed(trained.state_dict(), key, make))
        assert network.state_dict()[key] == 7
    with pytest.raises(MedtrainError, match=f"{key} is float32 with fractions, for int64"):
        warm_start(network, changed(trained.state_dict(), key, lambda n: n.float() + 0.5))


def test_a_networks_own_infinite_masks_are_no_fault():
    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
            self.body, self.fc = torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)

    given, network = Masked().state_dict(), Masked()
    warm_start(network, given)
    assert torch.equal(network.body.weight, given["body.weight"])
    with pytest.raises(MedtrainError, match="mask has 3 of 9 values that are NaN or infinite"):
        warm_start(network, changed(given, "mask", lambda mask: mask * 0))
