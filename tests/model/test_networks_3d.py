"""The 3D networks: sizes as published, small volumes, norms, weights, checkpointing that trains alike."""

import copy

import pytest
import torch
from torch import nn
from torchvision import models

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.stages import stages
from medtrain.model import (
    attention_map,
    densenet121_3d,
    kept_bytes,
    resnet10_3d,
    resnet18_3d,
    resnet34_3d,
    resnet50_3d,
)
from medtrain.target import DataSpec

PATCH = DataSpec.of("binary", ("no", "yes"), channels=1, size=(17, 17, 17))


def in_3d(network: nn.Module, channels: int) -> int:
    """Parameters of a 2D network if its kernels were cubes and its first layer took `channels`."""
    count = sum(p.numel() for p in network.parameters())
    first = True
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d):
            inputs = channels if first else conv.in_channels
            count += conv.out_channels * inputs * conv.kernel_size[0] ** 3 - conv.weight.numel()
            first = False
    return count


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (resnet18_3d, models.resnet18), (resnet34_3d, models.resnet34), (resnet50_3d, models.resnet50),
        (densenet121_3d, models.densenet121),
    ],
)  # fmt: skip
def test_they_are_the_published_networks_with_cubes_for_kernels(build, published):
    spec = DataSpec.of("multiclass", tuple("abcde"), channels=2, size=(32, 32, 32))
    with torch.device("meta"):
        ours, theirs = build(spec), published(num_classes=5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert sum(p.numel() for p in ours.parameters()) == in_3d(theirs, 2)


def test_resnet10_by_hand():
    """Stem, four basic blocks of two 3^3 convolutions, three 1^3 shortcuts, batch norms, head."""
    widths = [64, 128, 256, 512]
    convs = 343 * 64 + 27 * sum(a * b + b * b for a, b in zip([64, *widths], widths, strict=False))
    shortcuts = 64 * 128 + 128 * 256 + 256 * 512
    norms = 2 * (64 + 2 * sum(widths) + sum(widths[1:]))
    with torch.device("meta"):
        assert sum(p.numel() for p in resnet10_3d(PATCH).parameters()) == convs + shortcuts + norms + 512 + 1


def test_a_3d_network_on_a_stack_of_equal_slices_is_the_2d_network():
    """With each kernel a 2D one in its middle slice and zeros beside it, the slices don't mix."""
    flat = models.resnet18(num_classes=3).double().eval()
    spec = DataSpec.of("multiclass", tuple("abc"), channels=3, size=(8, 64, 64))
    deep = resnet18_3d(spec, stem="standard").double().eval()
    weights = {}
    for name, value in deep.state_dict().items():
        given = flat.state_dict()[name]
        if value.ndim == 5:
            given, flat_kernel = torch.zeros_like(value), given
            given[:, :, value.shape[2] // 2] = flat_kernel
        weights[name] = given
    deep.load_state_dict(weights)
    image = torch.rand(2, 3, 64, 64, dtype=torch.double)
    with torch.no_grad():
        torch.testing.assert_close(deep(image[:, :, None].expand(-1, -1, 8, -1, -1)), flat(image))


@pytest.mark.parametrize("build", [resnet10_3d, densenet121_3d])
@pytest.mark.parametrize("size", [17, 28, 64])
def test_no_volume_shrinks_to_a_single_cell(build, size):
    spec = DataSpec.of("multilabel", ("a", "b", "c"), 2, (size, size, size))
    seen = []
    with torch.device("meta"):
        network = build(spec).eval()
        last = network.layer4 if hasattr(network, "layer4") else network.features.denseblock4
        last.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
        assert network(torch.rand(2, 2, size, size, size)).shape == (2, 3)
        small = build(spec, stem="small").eval()
        wanted = {k: v.shape for k, v in network.state_dict().items()}
        assert {k: v.shape for k, v in small.state_dict().items()} == wanted
    assert min(seen[0]) >= 2
    with pytest.raises(UsageError, match="auto, standard, half, small"):
        build(spec, stem="tiny")


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_norms(norm):
    torch.manual_seed(0)
    network = resnet10_3d(PATCH, norm=norm, width=8)
    x = torch.rand(2, 1, 17, 17, 17)
    together = network(x)
    together.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    alone = torch.cat([network(each[None]) for each in x])
    assert torch.allclose(together, alone, atol=1e-4) == (norm != "batch")
    assert any(isinstance(m, nn.BatchNorm3d) for m in network.modules()) == (norm == "batch")
    with pytest.raises(UsageError, match="batch, instance, group"):
        resnet10_3d(PATCH, norm="layer")


def test_width_scales_every_layer():
    wide, narrow = resnet50_3d(PATCH, width=64), resnet50_3d(PATCH, width=16)
    assert narrow.conv1.out_channels == 16 and narrow.fc.in_features == wide.fc.in_features // 4
    assert narrow(torch.rand(2, 1, 17, 17, 17)).shape == (2, 1)
    with pytest.raises(UsageError, match="multiple of 8"):
        resnet10_3d(PATCH, width=63.5)


def test_weights_as_med3d_publishes_them(tmp_path):
    """Wrapped twice, named `module.`, with a head for segmentation and shortcuts without weights."""
    given = resnet10_3d(PATCH)
    state = {f"module.{k}": v for k, v in given.state_dict().items() if not k.startswith("fc.")}
    state["module.conv_seg.0.weight"] = torch.rand(3, 3)
    torch.save({"state_dict": state}, tmp_path / "resnet_10.pth")
    spec = DataSpec.of("multiclass", tuple("abc"), 2, (32, 32, 32))
    loaded = resnet10_3d(spec, weights=str(tmp_path / "resnet_10.pth"))
    torch.testing.assert_close(loaded.conv1.weight.sum(1, keepdim=True), given.conv1.weight)
    assert torch.equal(loaded.layer4[0].conv2.weight, given.layer4[0].conv2.weight)
    with pytest.raises(MedtrainError, match="another network"):
        resnet50_3d(PATCH, weights=str(tmp_path / "resnet_10.pth"))
    with pytest.raises(UsageError, match="no such name; give one of none, or a file"):
        resnet10_3d(PATCH, weights="IMAGENET1K_V1")


@pytest.mark.parametrize(
    ("build", "more"),
    [
        (resnet10_3d, {"width": 16}),
        (resnet50_3d, {"width": 8, "norm": "group"}),
        (densenet121_3d, {"stem": "standard"}),
    ],
)
def test_checkpointing_trains_alike_with_less_memory(build, more):
    torch.manual_seed(0)
    plain = build(PATCH, **more)
    saving = build(PATCH, checkpointing=True, **more)
    saving.load_state_dict(plain.state_dict())
    saving = copy.deepcopy(saving)
    x = torch.rand(2, 1, 17, 17, 17)
    for network in (plain, saving):
        network(x).square().sum().backward()
    with torch.device("meta"):
        kept = [
            kept_bytes(build(PATCH, checkpointing=on, **more), torch.rand(2, 1, 32, 32, 32)) for on in (True, False)
        ]
    assert kept[0] < 0.65 * kept[1]
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), saving.named_buffers(), strict=True):
        assert torch.equal(a, b[1]), name


def test_blocks_really_run_again_in_training_only():
    block, calls = resnet10_3d(PATCH, checkpointing=True, width=8).layer2[0], []
    block.bn2.register_forward_hook(lambda *_: calls.append(1))
    for training, expected in ((True, 2), (False, 1)):
        calls.clear()
        block.train(training)(torch.rand(2, 8, 4, 4, 4, requires_grad=True)).sum().backward()
        assert len(calls) == expected


def test_kept_memory_is_counted_by_hand_and_alike_without_computing():
    """A linear layer keeps its input, a sigmoid its output, an in-place ReLU no second one; weights don't count."""
    network = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 30), nn.ReLU(inplace=True), nn.Linear(30, 1))
    assert kept_bytes(network, torch.rand(5, 10)) == 5 * (20 + 30) * 4
    with torch.device("meta"):
        assert kept_bytes(copy.deepcopy(network).to("meta"), torch.rand(5, 10)) == 5 * (20 + 30) * 4


@pytest.mark.parametrize("build", [resnet10_3d, densenet121_3d])
def test_attention_is_the_average_until_something_is_learned(build):
    torch.manual_seed(0)
    plain = build(PATCH, norm="group").eval()
    attentive = build(PATCH, norm="group", attention=True).eval()
    attentive.load_state_dict(plain.state_dict(), strict=False)
    x = torch.rand(2, 1, 17, 17, 17)
    with torch.no_grad():
        torch.testing.assert_close(attentive(x), plain(x))
    weights = attention_map(attentive, x)
    assert weights.shape == (2, 2, 2, 2)
    torch.testing.assert_close(weights.flatten(1).sum(1), torch.ones(2))
    assert [stage.name for stage in stages(plain)] == [stage.name for stage in stages(attentive)]
