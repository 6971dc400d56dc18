"""The fixed views of an image or a volume whose predictions are averaged: test-time augmentation.

Nothing is drawn: the same image gives the same views in every batch, run and command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.augment.affine import resample, resample_volumes

DEGREES, SCALE, SHIFT = 5.0, 0.05, 0.03
BOX_SCALE = 0.2  # of images with boxes, whose objects come in sizes


class Views2d(nn.Module):
    """The image itself, then versions of it turned, scaled and shifted a little, spread evenly over the limits.

    They are the points of an additive recurrence of four dimensions (Roberts, The unreasonable effectiveness of
    quasirandom sequences, 2018), so fewer views are always the first of more.

    Args:
        count: number of views, the image included.
        flip_horizontal, flip_vertical: mirror every second view left and right, every second pair top and bottom;
            only for networks that were trained so.
    """

    def __init__(self, count: int, flip_horizontal: bool = False, flip_vertical: bool = False) -> None:
        super().__init__()
        self.count, self.flip_horizontal, self.flip_vertical = count, flip_horizontal, flip_vertical

    def forward(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        """Yield each view of the batch, (B, C, H, W), in turn; the first is the batch as it is."""
        yield x_BCHW
        for number in range(1, self.count):
            turn, size, right, down = _point(number, 4)
            mirror, upend = self.flip_horizontal and number % 2 == 1, self.flip_vertical and number % 4 >= 2
            yield resample(
                x_BCHW,
                degrees_B=x_BCHW.new_tensor([DEGREES * turn]),
                scale_B=x_BCHW.new_tensor([1 + SCALE * size]),
                shift_B2=x_BCHW.new_tensor([[SHIFT * right, SHIFT * down]]),
                flip_B2=torch.tensor([[mirror, upend]], device=x_BCHW.device),
            ).clamp(0, 1)


class Views3d(nn.Module):
    """Views of volumes, as `Views2d`: turned within the slices, scaled and shifted along the three axes.

    Args:
        count: number of views, the volume included.
        flips: D, H, W may be mirrored; of these every second, fourth, eighth view is another mirror image.
    """

    def __init__(self, count: int, flips: Sequence[bool] = (False, False, False)) -> None:
        super().__init__()
        self.count, self.flips = count, flips

    def forward(self, x_BCDHW: Tensor) -> Iterator[Tensor]:
        """Yield each view of the batch, (B, C, D, H, W), in turn; the first is the batch as it is."""
        yield x_BCDHW
        for number in range(1, self.count):
            turn, size, *shift = _point(number, 5)
            mirrored = [flip and number >> axis & 1 == 1 for axis, flip in enumerate(self.flips)]
            yield resample_volumes(
                x_BCDHW,
                spacing=(1.0, 1.0, 1.0),
                degrees_B3=x_BCDHW.new_tensor([[DEGREES * turn, 0, 0]]),
                scale_B=x_BCDHW.new_tensor([1 + SCALE * size]),
                shift_B3=SHIFT * x_BCDHW.new_tensor([shift]),
                flip_B3=torch.tensor([mirrored], device=x_BCDHW.device),
            ).clamp(0, 1)


@dataclass(frozen=True)
class BoxView:
    """A view of an image with boxes: another size (height, width), then mirrored left and right, or top and bottom."""

    size: tuple[int, int]
    mirror: bool
    upend: bool

    def place(self, height: int, width: int) -> list[float]:
        """Give (sx, sy, tx, ty), by which boxes of the image of this size are those of the view."""
        h, w = self.size
        scale = [-w / width if self.mirror else w / width, -h / height if self.upend else h / height]
        return [*scale, w if self.mirror else 0.0, h if self.upend else 0.0]


class BoxViews(nn.Module):
    """Views of an image that boxes can be mapped back from exactly: other sizes, mirrored as `Views2d` has it.

    Args:
        count, flip_horizontal, flip_vertical: as `Views2d` takes them.
    """

    def __init__(self, count: int, flip_horizontal: bool = False, flip_vertical: bool = False) -> None:
        super().__init__()
        self.count, self.flip_horizontal, self.flip_vertical = count, flip_horizontal, flip_vertical

    def forward(self, x_BCHW: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each view, (B, C, H', W'), the batch itself first, and its place (4,) in it, see `core.boxes.moved`."""
        height, width = x_BCHW.shape[-2:]
        yield x_BCHW, x_BCHW.new_tensor([1.0, 1.0, 0.0, 0.0])
        for view in self.further(height, width):
            x = resized(x_BCHW, view.size).clamp(0, 1)
            flipped = [axis for axis, wanted in ((-1, view.mirror), (-2, view.upend)) if wanted]
            yield x.flip(flipped), x_BCHW.new_tensor(view.place(height, width))

    def further(self, height: int, width: int) -> Iterator[BoxView]:
        """Describe the views of an image of this size beyond the image itself."""
        for number in range(1, self.count):
            zoom = 1 + BOX_SCALE * _point(number, 1)[0]
            size = max(1, round(height * zoom)), max(1, round(width * zoom))
            yield BoxView(size, self.flip_horizontal and number % 2 == 1, self.flip_vertical and number % 4 >= 2)


def resized(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images to (height, width); each axis by itself, so that a matrix for each does the same."""
    return F.interpolate(x_BCHW, size=size, mode="bilinear", align_corners=False, antialias=True)


def _point(number: int, dims: int) -> list[float]:
    """Compute a point of the sequence, -1..1 a dimension; the root of x^(dims + 1) = x + 1 spreads them evenly."""
    root = 2.0
    for _ in range(64):  # a contraction
        root = (1 + root) ** (1 / (dims + 1))
    return [2 * ((0.5 + number * root**-i) % 1) - 1 for i in range(1, dims + 1)]
