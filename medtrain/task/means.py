"""Means of an epoch's training losses over all cases and ranks, which survive a stop in the middle of the epoch.

Lightning's own means begin anew where a run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist


class EpochMeans:
    """Weighted sums by name, of this rank."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.weight = 0.0

    def add(self, values: Mapping[str, float], weight: float) -> None:
        """Add values of a batch, which weighs as many cases as it has."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + weight * value
        self.weight += weight

    def state(self, device: torch.device) -> dict[str, Any]:
        """Give plain values over all ranks, which all have to call this; `device` is where they can be added."""
        whole = torch.tensor([self.weight, *self.sums.values()], dtype=torch.float64)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            shared = whole.to(device)
            dist.all_reduce(shared)
            whole = shared.cpu()
        weight, *sums = whole.tolist()
        return {"weight": weight, "sums": dict(zip(self.sums, sums, strict=True))}

    def load(self, state: Mapping[str, Any], rank: int) -> None:
        """Go on from a state; rank 0 holds it for all."""
        self.sums = {name: value if rank == 0 else 0.0 for name, value in state["sums"].items()}
        self.weight = state["weight"] if rank == 0 else 0.0

    def close(self, device: torch.device) -> dict[str, float]:
        """Compute the means over all ranks; begins anew."""
        state = self.state(device)
        self.clear()
        return {name: value / state["weight"] for name, value in state["sums"].items()}
