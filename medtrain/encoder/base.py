"""Encoders: networks that turn tiles as they are read into features, and never change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError

RESAMPLINGS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """The changes that a network wants made to tiles.

    Args:
        size: pixels a side; None takes tiles as they are.
        mean, std: of each colour, from 0 to 1.
        resampling: ``bilinear`` or ``bicubic``, antialiased.
        resize: pixels a side before the middle of `size` is cut out; None sees the whole tile.

    Raises:
        UsageError: no such resampling, or `size` is beyond `resize`.
    """

    size: int | None = None
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    resampling: str = "bilinear"
    resize: int | None = None

    def __post_init__(self) -> None:
        if self.resampling not in RESAMPLINGS:
            raise UsageError(f"encoder.preprocessing.resampling={self.resampling}: give {' or '.join(RESAMPLINGS)}")
        if self.resize is not None and (self.size is None or self.size > self.resize):
            raise UsageError(f"encoder.preprocessing.resize={self.resize}: it must be at least size={self.size}")

    def __call__(self, tiles_BHWC: Tensor) -> Tensor:
        """Turn tiles, uint8 or floating point in 0..1, into (B, 3, size, size) float32."""
        x_BCHW = tiles_BHWC.permute(0, 3, 1, 2).float()
        x_BCHW = x_BCHW if tiles_BHWC.is_floating_point() else x_BCHW / 255
        side = self.resize or self.size
        if side is not None and x_BCHW.shape[-2:] != (side, side):
            x_BCHW = nn.functional.interpolate(x_BCHW, (side, side), mode=self.resampling, antialias=True)
            x_BCHW = x_BCHW.clamp(0, 1)  # bicubic overshoots
        if self.resize is not None and self.size is not None:
            edge = (self.resize - self.size) // 2
            x_BCHW = x_BCHW[..., edge : edge + self.size, edge : edge + self.size]
        mean, std = (x_BCHW.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (x_BCHW - mean) / std


class Encoder(nn.Module):
    """A network without head and its preprocessing; stays in evaluation mode whatever surrounds it.

    Args:
        network: (B, 3, H, W) float32 -> (B, D).
        preprocessing: from tiles to what the network takes.
        label: what it is, for people: name and weights.
        random: are its weights untrained?

    Attributes:
        dim: D.
        loaded: which tensors its weights have filled, in numbers; blank where it has none from a file.

    Raises:
        UsageError: the network does not take pictures of the preprocessing's size.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, label: str, random: bool = False) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing
        self.label, self.random = label, random
        self.requires_grad_(False)
        self.eval()
        side = preprocessing.size or 64
        try:
            self.dim = int(self(torch.zeros(1, side, side, 3, dtype=torch.uint8)).shape[1])
        except (AssertionError, RuntimeError) as error:  # a network of fixed size refuses others in its own words
            raise UsageError(
                f"encoder.size={side}: {label} does not take it ({str(error).partition(chr(10))[0]})"
            ) from error

    @property
    def loaded(self) -> str:
        return str(getattr(self.network, "loaded", ""))

    def train(self, mode: bool = True) -> Encoder:
        """Stay in evaluation mode: BatchNorm's statistics would drift, even without gradients."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, tiles_BHWC: Tensor) -> Tensor:
        """Compute features (B, D) float32 of RGB tiles (B, H, W, 3), uint8 or in 0..1."""
        features: Tensor = self.network(self.preprocessing(tiles_BHWC))
        return features.flatten(1).float()

    def fingerprint(self) -> str:
        """Compute a hash that changes with anything that changes features: weights, architecture, preprocessing."""
        changes = {key: value for key, value in asdict(self.preprocessing).items() if (key, value) != ("resize", None)}
        digest = hashlib.sha256(json.dumps([str(self.network), changes], default=list).encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]
