"""Means of an epoch's training losses over all cases and ranks, which survive a stop in the middle of the epoch.

Lightning's own means begin anew where a run goes on. A loss is read when the next one is there: a GPU would stand still
while this process waits for its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """The losses of one batch, on their way from the device.

    Args:
        names: of the values.
        values_K: on the host; of a GPU not yet there before `arrived`.
        arrived: when they are.
        weight: how many cases the batch has.
        place: where the batch stands, in words.
    """

    names: tuple[str, ...]
    values_K: Tensor
    arrived: torch.cuda.Event | None
    weight: float
    place: str

    @classmethod
    def send(cls, parts: Mapping[str, Tensor], weight: float, place: str) -> Losses:
        """Start to copy scalars to the host; a GPU goes on with what it has to do."""
        values_K, arrived = torch.stack(list(parts.values())).detach(), None
        if values_K.is_cuda:
            values_K = torch.empty(len(parts), dtype=values_K.dtype, pin_memory=True).copy_(values_K, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return cls(tuple(parts), values_K, arrived, weight, place)

    def read(self) -> dict[str, float]:
        """Wait for the values.

        Raises:
            FloatingPointError: one of them is no number.
        """
        if self.arrived is not None:
            self.arrived.synchronize()
        values = dict(zip(self.names, self.values_K.tolist(), strict=True))
        for value in values.values():
            if not isfinite(value):
                raise FloatingPointError(
                    f"the loss is {value} at {self.place}: "
                    "lower optimizer.lr, set trainer.gradient_clip_val=1, or look for broken inputs"
                )
        return values


class EpochMeans:
    """Weighted sums by name, of this rank.

    Attributes:
        read: the losses that were read last, by name; empty again when somebody has taken them.
    """

    def __init__(self) -> None:
        self.read: dict[str, float] = {}
        self.clear()

    def clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.weight = 0.0
        self._coming: Losses | None = None

    def add(self, parts: Mapping[str, Tensor], weight: float, place: str) -> None:
        """Add the scalar losses of a batch, which weighs as many cases as it has.

        Args:
            place: where it stands, for the message.

        Raises:
            FloatingPointError: a loss is no number: this one, or on a GPU the one before.
        """
        self._settle()
        self._coming = Losses.send(parts, weight, place)
        if self._coming.arrived is None:
            self._settle()

    def _settle(self) -> None:
        coming, self._coming = self._coming, None
        if coming is None:
            return
        self.read = coming.read()
        for name, value in self.read.items():
            self.sums[name] = self.sums.get(name, 0.0) + coming.weight * value
        self.weight += coming.weight

    def state(self, device: torch.device) -> dict[str, Any]:
        """Give plain values over all ranks, which all have to call this; `device` is where they can be added.

        A checkpoint is written after this, so never after a loss that is no number (FloatingPointError).
        """
        self._settle()
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
