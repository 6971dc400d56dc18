"""Networks that end in tokens have Grad-CAM too, and occlusion explains those that have no features with a place."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.explain import Covers, grad_cam, sanity_check
from medtrain.explain.features import last_features
from medtrain.explain.maps import allowed, method_of, occlusion
from medtrain.model import Ensemble


class Rearranged(nn.Module):
    """Tokens to a map and back, so that captum has a layer with a map."""

    def __init__(self, before, cells):
        super().__init__()
        self.before, self.cells, self.map = before, cells, nn.Identity()

    def forward(self, x_BNC):
        image = self.map(x_BNC[:, self.before :].transpose(1, 2).unflatten(2, self.cells))
        return torch.cat([x_BNC[:, : self.before], image.flatten(2).transpose(1, 2)], 1)


class Transformer(nn.Module):
    """A vision transformer of two blocks, pooled by a class token or by the mean of its tokens."""

    def __init__(self, pool, cells, patch=4, registers=0, between=True):
        super().__init__()
        torch.manual_seed(0)
        conv = nn.Conv3d if len(cells) == 3 else nn.Conv2d
        self.pool, self.registers = pool, registers + (pool == "token")
        self.embed = conv(1, 12, patch, patch)
        self.first = nn.Parameter(torch.randn(1, self.registers, 12)) if self.registers else None
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(12, 3, 24, 0.0, batch_first=True) for _ in range(2))
        self.between = Rearranged(self.registers, cells) if between else nn.Identity()
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        if self.first is not None:
            x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        x = self.blocks[0](x)
        x = self.between(x)
        x = self.blocks[1](x)
        return self.head(x[:, 0] if self.pool == "token" else x[:, self.registers :].mean(1))


@pytest.mark.parametrize("cells", [(4, 4), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("registers", [0, 4])
def test_grad_cam_of_tokens_is_captum_s_of_the_same_as_a_map(cells, registers):
    """The class token's last block counts for nothing at other tokens: what it is made of does."""
    network = Transformer("token", cells, registers=registers, between=False).eval()
    same = Transformer("token", cells, registers=registers).eval()
    same.load_state_dict(network.state_dict(), strict=False)
    x, numbers = torch.rand(2, 1, *(4 * n for n in cells)), torch.tensor([2, 0])
    torch.testing.assert_close(network(x), same(x))
    expected = LayerGradCam(same, same.between.map).attribute(x, target=numbers, relu_attributions=True)[:, 0]
    heat = grad_cam(network, x, numbers)
    assert heat.shape == (2, *cells) and heat.max() > 0
    torch.testing.assert_close(heat, expected.detach())


def test_grad_cam_of_the_mean_of_tokens_is_the_formula():
    network = Transformer("mean", (4, 6), between=False).eval()
    x, numbers = torch.rand(2, 1, 16, 24), torch.tensor([1, 2])
    features = network.blocks[1](network.between(network.blocks[0](network.embed(x).flatten(2).transpose(1, 2))))
    expected = torch.einsum("bnc,bc->bn", features, network.head.weight[numbers]).relu() / 24
    torch.testing.assert_close(grad_cam(network, x, numbers), expected.unflatten(1, (4, 6)))


SMALL = {"img_size": 64, "depths": (1, 1), "num_heads": (2, 2), "embed_dim": 16}


@pytest.mark.parametrize(
    ("name", "options", "cells"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, (4, 4)),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 1}, (4, 4)),
        ("vit_tiny_patch16_224", {"img_size": (64, 96), "depth": 2, "global_pool": "avg"}, (4, 6)),
        ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 2}, (4, 4)),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 2}, (4, 4)),
        ("swin_tiny_patch4_window7_224", SMALL, (8, 8)),
        ("swinv2_tiny_window8_256", SMALL, (8, 8)),
        ("convnext_atto", {}, (2, 2)),
        ("mobilevit_xxs", {}, (2, 2)),
    ],
)  # fmt: skip
def test_transformers_of_timm(name, options, cells):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=2, in_chans=1, **options).eval()
    size = options.get("img_size", 64)
    x = torch.rand(2, 1, *((size, size) if isinstance(size, int) else size))
    assert allowed(network, "all", x[:1]) == (["gradcam"], [])
    heat = grad_cam(network, x, torch.tensor([0, 1]))
    assert heat.shape == (2, *cells) and (heat >= 0).all() and heat.max() > 0


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_transformers_of_torchvision(name):
    from torchvision import models

    torch.manual_seed(0)
    if name == "vit_b_16":
        network = models.VisionTransformer(64, 16, 2, 2, 24, 48, num_classes=2).eval()
        assert grad_cam(network, torch.rand(1, 3, 64, 64), torch.tensor([1])).max() == 0  # its head begins at zero
        nn.init.normal_(network.heads.head.weight)
    else:
        network = models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [4, 4], num_classes=2).eval()
    x = torch.rand(1, 3, 64, 64)
    heat = grad_cam(network, x, torch.tensor([1]))
    assert heat.shape == ((1, 4, 4) if name == "vit_b_16" else (1, 8, 8)) and heat.max() > 0


class Brightness(nn.Module):
    """The logit of class 1 is what a known part of the image sums to; nothing has a place."""

    def __init__(self, part):
        super().__init__()
        self.part, self.one = part, nn.Linear(1, 1)

    def forward(self, x):
        total = (x[:, :, *self.part] * 1.0).flatten(1).sum(1, keepdim=True)
        return torch.cat([-total, total], 1) + 0 * self.one(total)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("size", "stride"), [(None, None), (4, 4), (4, 2), (3, 2), ("sides", 1)])
def test_occlusion_by_hand(dims, size, stride):
    """How far the sum falls under each cover, and the mean of the covers over a place."""
    sides = (12, 16, 8)[:dims]
    size = [4, 2, 3][:dims] if size == "sides" else size
    covers = Covers(size, stride, "lowest", at_once=5)
    part = (slice(2, 7), slice(3, 9), slice(1, 6))[:dims]
    x = torch.rand(2, 1, *sides, generator=torch.Generator().manual_seed(1))
    heat = occlusion(Brightness(part).eval(), x, torch.tensor([1, 0]), covers)
    sizes, steps = covers.sizes(sides), covers.strides(sides)
    axes = [
        range(0, max(1, -(-(n - k) // step) + 1) * step, step) for n, k, step in zip(sides, sizes, steps, strict=True)
    ]
    assert covers.places(sides) == int(np.prod([len(axis) for axis in axes]))
    for image, number, ours in zip(x[:, 0].numpy(), (1, -1), heat.numpy(), strict=True):
        total, count = np.zeros(sides), np.zeros(sides)
        mask = np.zeros(sides)
        mask[part] = 1
        for start in np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, dims):
            cover = tuple(slice(s, s + k) for s, k in zip(start, sizes, strict=True))
            total[cover] += number * ((image[cover] - image.min()) * mask[cover]).sum()
            count[cover] += 1
        np.testing.assert_allclose(ours, np.maximum(total / count, 0), atol=1e-4)


def test_occlusion_takes_any_network_and_is_named_where_grad_cam_cannot_be():
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 1)).eval()
    x = torch.rand(2, 1, 16, 16)
    with pytest.raises(UsageError, match=r"which Grad-CAM needs; explain\.method=occlusion takes any network"):
        allowed(network, "gradcam", x[:1])
    names, notes = allowed(network, "all", x[:1])
    assert names == ["occlusion"] and notes[0].startswith("no Grad-CAM: Sequential doesn't end in")
    covers = Covers(4, 2, at_once=64)
    heat = method_of("occlusion", covers)(network, x, torch.tensor([1, 0]))
    assert heat.shape == (2, 16, 16) and heat.min() >= 0 and heat.max() > 0
    both = occlusion(Ensemble([network, network]), x, torch.tensor([1, 0]), covers)
    torch.testing.assert_close(both, heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12))
    assert sanity_check(network, method_of("occlusion", covers), x[:1], torch.tensor([1]))["images"] == 1
    text = "occlusion: covers of 28 x 28 in 224 x 224, every 14 x 14, filled with the image's mean: 225 forward passes"
    assert Covers(None, None).in_words((224, 224)) == f"{text} each"


def test_tokens_that_fill_no_grid_have_no_place():
    network = Transformer("token", (4, 4), between=False).eval()
    network.num_prefix_tokens = 3  # 14 tokens
    with pytest.raises(UsageError, match="map or tokens"):
        last_features(network, torch.rand(1, 1, 16, 16), network)
