"""nnU-Net's checkpoints: a network written here in its layout computes the same as what its weights are put into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medtrain.core.errors import MedtrainError
from medtrain.model.unet_3d import kernels_of, unet_3d
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
WIDTHS = (4, 8, 16)
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))  # at 2.5 x 1 x 1 mm: 2.5, then 1.25 times the shortest side


class Layer(nn.Module):
    """Convolution, norm and activation, which nnU-Net lists twice: by name and in `all_modules`."""

    def __init__(self, inside: int, outside: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inside, outside, kernel, stride, tuple(k // 2 for k in kernel))
        self.norm = nn.InstanceNorm3d(outside, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, nn.LeakyReLU(0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.all_modules(x)


class Stack(nn.Module):
    def __init__(self, inside: int, outside: int, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.convs = nn.Sequential(Layer(inside, outside, kernel, stride), Layer(outside, outside, kernel, (1, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class Decoder(nn.Module):
    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        up = range(len(WIDTHS) - 2, -1, -1)
        self.stages = nn.ModuleList(Stack(2 * WIDTHS[n], WIDTHS[n], KERNELS[n], (1, 1, 1)) for n in up)
        self.transpconvs = nn.ModuleList(
            nn.ConvTranspose3d(WIDTHS[n + 1], WIDTHS[n], STRIDES[n + 1], STRIDES[n + 1]) for n in up
        )
        self.seg_layers = nn.ModuleList(nn.Conv3d(WIDTHS[n], classes, 1) for n in up)


class Plain(nn.Module):
    """A plain convolutional U-Net with the names of nnU-Net's."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Module()
        inside = (1, *WIDTHS)
        self.encoder.stages = nn.Sequential(
            *(nn.Sequential(Stack(inside[n], WIDTHS[n], KERNELS[n], STRIDES[n])) for n in range(len(WIDTHS)))
        )
        self.decoder = Decoder(self.encoder, classes)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.encoder.stages:
            x = stage(x)
            skips.append(x)
        for n, stage in enumerate(self.decoder.stages):
            x = stage(torch.cat([self.decoder.transpconvs[n](x), skips[-(n + 2)]], 1))
        return self.decoder.seg_layers[-1](x)


def spec_of(classes: int, strides: tuple[tuple[int, int, int], ...] = STRIDES) -> DataSpec:
    target = MaskTarget(tuple(f"c{n}" for n in range(classes)))
    return DataSpec(target, 1, (8, 16, 16), (2.5, 1.0, 1.0), strides=strides)


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Plain, Path]:
    torch.manual_seed(0)
    network, path = Plain(3).eval(), tmp_path / "checkpoint_final.pth"
    for layer in network.modules():
        if isinstance(layer, nn.InstanceNorm3d):
            nn.init.normal_(layer.weight, 1, 0.3)
            nn.init.normal_(layer.bias, 0, 0.3)
    content = {
        "network_weights": network.state_dict(),
        "optimizer_state": torch.optim.SGD(network.parameters(), 0.1).state_dict(),
        "logging": {"mean_fg_dice": [np.float64(0.3), np.float32(0.4)], "best": True},
        "_best_ema": np.float64(0.4),
        "trainer_name": "nnUNetTrainer",
    }
    torch.save(content, path)
    return network, path


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_outputs_are_those_of_the_checkpoint(checkpoint: tuple[Plain, Path], dropout: float) -> None:
    theirs, path = checkpoint
    own = unet_3d(spec_of(2), weights=str(path), width=4, dropout=dropout).eval()
    x_BCDHW = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(own(x_BCDHW), theirs(x_BCDHW))


def test_other_classes_leave_the_heads_fresh(checkpoint: tuple[Plain, Path]) -> None:
    theirs, path = checkpoint
    own = unet_3d(spec_of(4), weights=str(path), width=4)
    assert "4 left fresh" in own.loaded and "heads" in own.loaded
    state = theirs.state_dict()
    assert torch.equal(own.ups[0].weight, state["decoder.transpconvs.0.weight"])
    assert torch.equal(own.encoder[2][3].weight, state["encoder.stages.2.0.convs.1.conv.weight"])


def test_other_stages_are_refused(checkpoint: tuple[Plain, Path]) -> None:
    with pytest.raises(MedtrainError, match="weights of another network"):
        unet_3d(spec_of(2, (*STRIDES, (2, 2, 2))), weights=str(checkpoint[1]), width=4)
    with pytest.raises(MedtrainError, match="weights of another network"):
        unet_3d(spec_of(2), weights=str(checkpoint[1]), width=8)


def test_own_checkpoints_stay_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = unet_3d(spec_of(2), width=4).eval()
    torch.save(first.state_dict(), tmp_path / "own.pt")
    again = unet_3d(spec_of(2), weights=str(tmp_path / "own.pt"), width=4).eval()
    x_BCDHW = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(again(x_BCDHW), first(x_BCDHW))


def test_kernels_reach_on_where_they_have_once_reached() -> None:
    isotropic = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
    assert kernels_of(isotropic, (1.0, 1.0, 1.0), 3) == [(3, 3, 3)] * 5
    assert kernels_of(((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)), (5.0, 0.8, 0.8), 3) == [
        *[(1, 3, 3)] * 2,
        *[(3, 3, 3)] * 2,
    ]  # 5 mm are 6.2, 3.1 and 1.6 times the others
    assert kernels_of(((1, 1, 1), (1, 2, 2)), (9.0, 1.0, 1.0), 3) == [(1, 3, 3), (3, 3, 3)]  # the deepest reaches all
