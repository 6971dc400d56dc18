"""Random numbers for the samples of a batch, from (seed, epoch, sample id) and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medtrain.core.streams import stream


def draw(
    ids: list[int] | list[list[int]], seed: int, epoch: int, count: int, name: str = "augment"
) -> tuple[Tensor, list[int]]:
    """Uniform numbers in 0..1, (B, count) float32, and a seed for noise, for each sample.

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
    """0..1 to -1..1."""
    return 2 * u - 1
