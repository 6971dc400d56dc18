"""A one-stage detector without anchors, of the YOLO family: own code under this project's licence.

Built from papers: cross-stage partial blocks (Wang et al., CSPNet, CVPRW 2020), pyramid pooling (He et al., SPP-net,
ECCV 2014), a path aggregation neck (Liu et al., PANet, CVPR 2018), and a decoupled head that says at each point whether
and where (Ge et al., YOLOX, 2021). It hands out raw outputs; `loss=detection` compares them with the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.boxes import Boxes, Candidates, Detections, Raw, decode, grid_points, suppress
from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Inside, Share, checked
from medtrain.core.suppression import Suppression
from medtrain.model.detector import Detector, Stage
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec

Size = Literal["n", "s", "m"]
SIZES: dict[Size, tuple[float, int]] = {"n": (0.25, 1), "s": (0.5, 1), "m": (0.75, 2)}
"""Width as a share of 64, 128, ... 1,024 channels, and blocks a stage."""

STRIDES = (4, 8, 16, 32)
PRIOR = 0.01
"""Score of an untrained point: most of the image is no lesion (Lin et al., Focal loss, 2017, section 3.3)."""


@checked("model")
def yolo(
    spec: DataSpec,
    weights: str | None = "none",
    size: Size = "n",
    strides: Sequence[Literal[4, 8, 16, 32]] = (8, 16, 32),
    score: Share = 0.001,
    overlap: Inside = 0.65,
    most: Count = 100,
) -> Yolo:
    """Build the network for these data; arguments as `Yolo` and `load_weights` have them."""
    network = Yolo(spec, size, strides, score, overlap, most)
    load_weights(network, weights)
    return network


class Yolo(Detector):
    """A network from (B, C, H, W) of any size to raw outputs at the points of several maps.

    Args:
        spec: the data's channels and classes.
        size: n, s or m.
        strides: of the maps that detect, out of 4, 8, 16, 32; 4 finds tiny lesions and costs about as much as the rest.
        score, overlap, most: of `detect`: the least score, the IoU of duplicates, and boxes an image.

    Raises:
        UsageError: no such strides.
    """

    heads = ("score.",)

    def __init__(
        self,
        spec: DataSpec,
        size: Size = "n",
        strides: Sequence[int] = (8, 16, 32),
        score: float = 0.001,
        overlap: float = 0.65,
        most: int = 100,
    ) -> None:
        super().__init__()
        self.strides = sorted(strides)
        if (
            not strides
            or not set(strides) <= set(STRIDES)
            or self.strides[-1] // self.strides[0] != 2 ** (len(strides) - 1)
        ):
            raise UsageError(f"model.strides={list(strides)}: take neighbours out of {', '.join(map(str, STRIDES))}")
        self.floor, self.overlap, self.most = score, overlap, most
        width, depth = SIZES[size]
        c = [int(width * 64 * 2**i) for i in range(5)]  # at strides 2, 4, 8, 16, 32
        self.stem = Conv(spec.channels, c[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Conv(c[i], c[i + 1], 3, 2), Partial(c[i + 1], c[i + 1], depth * (2 if i in (1, 2) else 1)))
            for i in range(4)
        )
        self.pool = Pyramid(c[4])
        used = c[1:][STRIDES.index(self.strides[0]) : STRIDES.index(self.strides[-1]) + 1]
        self.neck = Neck(used, depth)
        head = max(c[2], min(100, len(spec.classes)))
        self.looks = nn.ModuleList(Conv(n, head, 1) for n in used)
        self.whether = nn.ModuleList(nn.Sequential(Conv(head, head, 3), Conv(head, head, 3)) for _ in used)
        self.where = nn.ModuleList(nn.Sequential(Conv(head, head, 3), Conv(head, head, 3)) for _ in used)
        self.score = nn.ModuleList(_last(head, [math.log(PRIOR / (1 - PRIOR))] * len(spec.classes)) for _ in used)
        self.box = nn.ModuleList(_last(head, [0.0, 0.0, math.log(4), math.log(4)]) for _ in used)  # of four strides

    def forward(self, x_BCHW: Tensor, truth: Boxes | None = None) -> Raw:
        """Compute raw outputs of all points; the truth is the loss's affair."""
        x, maps = self.stem(x_BCHW), []
        for stage, stride in zip(self.stages, STRIDES, strict=True):
            x = stage(x)
            maps.append(self.pool(x) if stride == STRIDES[-1] else x)
        first = STRIDES.index(self.strides[0])
        maps = self.neck(maps[first : first + len(self.strides)])
        logits, coded = [], []
        for i, map_ in enumerate(maps):
            seen = self.looks[i](map_)
            logits.append(self.score[i](self.whether[i](seen)).flatten(2))
            coded.append(self.box[i](self.where[i](seen)).flatten(2))
        points_A2, stride_A = grid_points([tuple(m.shape[2:]) for m in maps], self.strides, x.device)
        return Raw(torch.cat(logits, 2).transpose(1, 2), torch.cat(coded, 2).transpose(1, 2), points_A2, stride_A)

    def candidates(self, x_BCHW: Tensor) -> Candidates:
        """Predict the surest boxes of each image, before suppression."""
        raw = self(x_BCHW)
        scores_BN = raw.logits_BAC.float().sigmoid().flatten(1)
        boxes_BA4 = decode(raw.coded_BA4, raw.points_A2, raw.stride_A)
        scores_BK, entries_BK = scores_BN.topk(min(1000, scores_BN.shape[1]), 1)
        classes = raw.logits_BAC.shape[2]
        points_BK4 = (entries_BK // classes)[..., None].expand(-1, -1, 4)
        boxes_BK4 = clipped(boxes_BA4.gather(1, points_BK4), x_BCHW.shape)
        return Candidates(boxes_BK4, scores_BK, entries_BK % classes)

    def detect(self, x_BCHW: Tensor) -> Detections:
        boxes_BK4, scores_BK, labels_BK = self.candidates(x_BCHW)
        image_K, k = (scores_BK > self.floor).nonzero(as_tuple=True)
        detections = Detections(boxes_BK4[image_K, k], scores_BK[image_K, k], labels_BK[image_K, k], image_K)
        return suppress(detections, self.overlap, self.most)

    def parted(self, channels: int, size: tuple[int, int]) -> list[Stage]:
        return [Stage(Before(self), Suppression(self.overlap, self.most, self.floor))]


class Before(nn.Module):
    """The network up to suppression."""

    def __init__(self, network: Yolo) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Candidates:
        return self.network.candidates(x_BCHW)


def _last(width: int, bias: list[float]) -> nn.Conv2d:
    """Make the layer to the outputs, which gives the same everywhere at first."""
    layer = nn.Conv2d(width, len(bias), 1)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(torch.tensor(bias))  # type: ignore[union-attr]
    return layer


def clipped(boxes_N4: Tensor, shape: Sequence[int]) -> Tensor:
    """Cut boxes at the edges of images (..., H, W)."""
    height, width = shape[-2:]
    return torch.minimum(boxes_N4.clamp(min=0), boxes_N4.new_tensor([width, height, width, height]))


class Conv(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(n_out),
            nn.SiLU(inplace=True),
        )


class Block(nn.Module):
    """Two convolutions, with a shortcut."""

    def __init__(self, n: int, shortcut: bool) -> None:
        super().__init__()
        self.convs, self.shortcut = nn.Sequential(Conv(n, n, 3), Conv(n, n, 3)), shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x) if self.shortcut else self.convs(x)


class Partial(nn.Module):
    """A block that half of the channels go through; every inner block's output is part of its own."""

    def __init__(self, n_in: int, n_out: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = n_out // 2
        self.split = Conv(n_in, 2 * half, 1)
        self.blocks = nn.ModuleList(Block(half, shortcut) for _ in range(depth))
        self.join = Conv((2 + depth) * half, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Maximum pooling, repeated: the surroundings of each place at three scales."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.squeeze, self.join = Conv(n, n // 2, 1), Conv(2 * n, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.squeeze(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.join(torch.cat(parts, 1))


class Neck(nn.Module):
    """A path from coarse maps down to the fine ones, and up again."""

    def __init__(self, widths: Sequence[int], depth: int) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(Partial(fine + coarse, fine, depth, False) for fine, coarse in pairs)
        self.reduce = nn.ModuleList(Conv(fine, fine, 3, 2) for fine, _ in pairs)
        self.up = nn.ModuleList(Partial(fine + coarse, coarse, depth, False) for fine, coarse in pairs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Mix maps, finest first, which keep their sizes and widths."""
        maps = list(maps)
        for i in reversed(range(len(maps) - 1)):
            wide = F.interpolate(maps[i + 1], size=maps[i].shape[2:], mode="nearest")
            maps[i] = self.down[i](torch.cat([maps[i], wide], 1))
        for i in range(len(maps) - 1):
            maps[i + 1] = self.up[i](torch.cat([self.reduce[i](maps[i]), maps[i + 1]], 1))
        return maps
