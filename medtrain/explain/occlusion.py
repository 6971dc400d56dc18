"""Occlusion: how much a class's logit falls when a part of the image is covered; for any network.

Zeiler & Fergus, Visualizing and understanding convolutional networks, ECCV 2014, by captum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SHARE = {2: 8, 3: 4}  # parts of a side that a cover has by default: a volume has more places
FILLS = {"mean": "the image's mean", "lowest": "its lowest value"}


@dataclass(frozen=True)
class Covers:
    """What covers an image.

    Args:
        size: pixels (voxels) a side, one number or one a side; None takes an eighth of each side, of volumes a quarter.
        stride: from a cover to the next; None takes half of `size`.
        fill: mean or lowest, of each channel of the image itself, in place of what is covered.
        at_once: covered images in a batch.
    """

    size: int | list[int] | None = None
    stride: int | list[int] | None = None
    fill: str = "mean"
    at_once: int = 16

    def sizes(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Give the sides of a cover on an image of these sides."""
        if self.size is None:
            return tuple(max(1, n // SHARE[len(sides)]) for n in sides)
        return self._each(self.size, sides, sides)

    def strides(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Give the steps from a cover to the next, no wider than a cover, so that nothing is left out."""
        sizes = self.sizes(sides)
        if self.stride is None:
            return tuple(max(1, n // 2) for n in sizes)
        return self._each(self.stride, sizes, sizes)

    def _each(self, value: int | list[int], sides: tuple[int, ...], most: tuple[int, ...]) -> tuple[int, ...]:
        lengths = [value] * len(sides) if isinstance(value, int) else list(value)
        return tuple(min(n, limit) for n, limit in zip(lengths, most, strict=True))

    def places(self, sides: tuple[int, ...]) -> int:
        """Count the covers, each of which costs a forward pass."""
        axes = zip(sides, self.sizes(sides), self.strides(sides), strict=True)
        return math.prod(math.ceil((side - size) / stride) + 1 for side, size, stride in axes)

    def in_words(self, sides: tuple[int, ...]) -> str:
        """Say what was covered, and by what."""
        size, stride = (" x ".join(map(str, values)) for values in (self.sizes(sides), self.strides(sides)))
        of = " x ".join(map(str, sides))
        return (
            f"occlusion: covers of {size} in {of}, every {stride}, filled with {FILLS[self.fill]}: "
            f"{self.places(sides):,} forward passes each"
        )


def occlude(logits: Callable[[Tensor], Tensor], x: Tensor, classes_B: Tensor, covers: Covers) -> Tensor:
    """Map how much the logit of a class falls under the covers over a place, on average; not negative.

    Args:
        logits: of all classes, from inputs.
        x: (B, C, H, W) or (B, C, D, H, W).
        classes_B: class numbers.

    Returns:
        (B, H, W) or (B, D, H, W), equal within the steps of the covers.
    """
    from captum.attr import Occlusion  # late: it takes long to import, and training maps nothing

    sides, channels = tuple(x.shape[2:]), x.shape[1]
    slider = Occlusion(logits)
    maps = []
    with torch.no_grad():
        for image, number in zip(x.split(1), classes_B, strict=True):
            places = tuple(range(2, x.ndim))
            fill = image.mean(places, keepdim=True) if covers.fill == "mean" else image.amin(places, keepdim=True)
            fall = slider.attribute(
                image,
                sliding_window_shapes=(channels, *covers.sizes(sides)),
                strides=(channels, *covers.strides(sides)),
                baselines=fill.expand_as(image),
                target=int(number),
                perturbations_per_eval=covers.at_once,
            )
            maps.append(fall[:, 0].clamp(min=0).to(x.dtype))
    return torch.cat(maps)
