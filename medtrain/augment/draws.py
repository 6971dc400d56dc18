"""Random numbers for the samples of a batch, from (seed, epoch, sample id) and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medtrain.core.streams import stream


def draw(
    ids: list[int] | list[list[int]], seed: int, epoch: int, count: int, name: str = "augment"
) -> tuple[Tensor, list[int]]:
    """Draw uniform numbers in 0..1, (B, count) float32, and a seed for noise, for each sample.

    An id that comes again in the batch draws anew. Draw all numbers whatever is switched on, so that switching one
    change off leaves the others as they were.
    """
    u_BK = np.empty((len(ids), count), dtype=np.float32)
    noise_seeds: list[int] = []
    seen: dict[tuple[int, ...], int] = {}
    for row, sample in enumerate(ids):
        path = tuple(sample) if isinstance(sample, list) else (sample,)
        seen[path] = occurrence = seen.get(path, -1) + 1
        again = ("again", occurrence) if occurrence else ()
        generator = stream(seed, name, epoch, *path, *again)
        generator.random(out=u_BK[row], dtype=np.float32)
        noise_seeds.append(int(generator.integers(1 << 62)))
    return torch.from_numpy(u_BK), noise_seeds


def signed(u: Tensor) -> Tensor:
    """Map 0..1 to -1..1."""
    return 2 * u - 1


def normal(x: Tensor, seeds: list[int]) -> Tensor:
    """Draw standard normal noise (B, ...), each sample's from its own seed; the same on one kind of device only."""
    noise = torch.empty(x.shape, device=x.device)
    generator = torch.Generator(x.device)
    for image, number in zip(noise, seeds, strict=True):
        image.normal_(generator=generator.manual_seed(number))
    return noise


def check_batch(x: Tensor, ids_B: Tensor) -> None:
    """Raise TypeError or ValueError unless `x` is floating point and has an id a sample."""
    if not x.is_floating_point():
        raise TypeError(f"images must be floating point in 0..1, not {x.dtype}")
    if len(ids_B) != len(x):
        raise ValueError(f"{len(x)} images, {len(ids_B)} ids")
