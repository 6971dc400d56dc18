"""Equal shares for all ranks: with unequal ones, distributed training waits for ever at the last batch."""

from __future__ import annotations

import numpy as np


def shard(order: np.ndarray, rank: int, world: int, *, repeat_last: bool = False) -> np.ndarray:
    """Take every world-th index from `rank` on, of an order that is padded to a multiple of `world`.

    Args:
        order: indices, (n,).
        rank: 0 .. world - 1.
        world: number of ranks.
        repeat_last: pad with the last index; otherwise from the start again.

    Returns:
        ceil(n / world) indices.
    """
    total = shard_length(len(order), world) * world
    if repeat_last and len(order):
        order = np.pad(order, (0, total - len(order)), mode="edge")
    return np.resize(order, total)[rank::world]


def shard_length(n: int, world: int) -> int:
    """Count the indices of a rank: ceil(n / world)."""
    return -(-n // world)


def check_rank(rank: int, world: int) -> None:
    """Raise ValueError unless 0 <= rank < world."""
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not in 0..{world - 1}")
