"""An encoder without weights: colour and texture of a tile in 46 numbers, nothing to download.

It sees how much of each stain there is, on structures of which size, and whether they run one way. That tells
tissues apart that differ plainly, as a phantom's do; a trained network sees more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medtrain.encoder.base import Encoder, Preprocessing

# Absorption of red, green and blue by haematoxylin, eosin and what is left (Ruifrok and Johnston 2001)
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
AMOUNTS = (0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.2)  # share of pixels with more of a stain than this
SCALES = (1, 2, 4, 8)  # structures of twice this many pixels, and four times that
CHUNK = 16  # tiles at a time: what fits a processor's cache


class Descriptor(nn.Module):
    """A network without weights, (B, 3, H, W) from 0 to 1, 32 pixels a side or more -> (B, 46)."""

    stains: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("stains", torch.linalg.inv(torch.tensor(STAINS)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # a graph can't count the parts of a batch of any size
            return self.describe(x_BCHW)
        return torch.cat([self.describe(part) for part in x_BCHW.split(CHUNK)])

    def describe(self, x_BCHW: Tensor) -> Tensor:
        """Compute the numbers from every other pixel: the finest structures are the camera's and the compression's."""
        absorbed = -torch.log(nn.functional.avg_pool2d(x_BCHW, 2).clamp(min=1 / 255))
        amounts_BSHW = torch.einsum("bchw,cs->bshw", absorbed, self.stains).contiguous()
        numbers = [amounts_BSHW.mean((2, 3)), amounts_BSHW.std((2, 3))]
        two = amounts_BSHW[:, :2]
        numbers += [(two > amount).float().mean((2, 3)) for amount in AMOUNTS]
        for scale in SCALES:
            numbers += list(_structures(two, scale))
        return torch.cat([*numbers, _one_way(two)], 1)


def _structures(x_BCHW: Tensor, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """Measure a band of sizes: log energy, lopsidedness (dark dots on pale, or pale on dark), largest value."""
    fine = nn.functional.avg_pool2d(x_BCHW, scale) if scale > 1 else x_BCHW
    coarse = nn.functional.interpolate(
        nn.functional.avg_pool2d(fine, 2, ceil_mode=True), fine.shape[-2:], mode="bilinear"
    )
    band = fine - coarse
    energy = band.square().mean((2, 3)).sqrt() + 1e-3
    lopsided = band.pow(3).mean((2, 3)) / energy.pow(3)
    return energy.log() + 3, lopsided.clamp(-5, 5) / 5, band.amax((2, 3))


def _one_way(x_BCHW: Tensor) -> Tensor:
    """Measure the coherence of the gradients, 0 to 1 (B, C): 1 where all edges run one way."""
    right = x_BCHW[..., 1:, 1:] - x_BCHW[..., 1:, :-1]
    down = x_BCHW[..., 1:, 1:] - x_BCHW[..., :-1, 1:]
    xx, yy, xy = (product.mean((2, 3)) for product in (right * right, down * down, right * down))
    return torch.sqrt((xx - yy).square() + 4 * xy.square()) / (xx + yy + 1e-6)


def descriptor() -> Encoder:
    """Build the fixed descriptor as an encoder."""
    return Encoder(Descriptor(), Preprocessing(), "descriptor (colour and texture, not trained)")
