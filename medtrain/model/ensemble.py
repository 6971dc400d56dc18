"""Several networks as one: logits get an axis of members, and nothing else in a task has to know.

Members stay apart up to the case's probability, because their spread is the uncertainty and each has its own
temperature (Lakshminarayanan et al., Simple and scalable predictive uncertainty estimation using deep ensembles,
NeurIPS 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks with the same inputs and classes, run one after the other.

    All weights stay on the device (five DenseNet-121 take 140 MB) while the activations are those of one member at a
    time, so a batch is read once and memory is one network's but for the weights.

    Args:
        members: networks from inputs to logits (B, K), of any architectures.
        temperatures: what each member's logits are divided by, as fitted on its own validation data.
        specs: what each member knows of its data, where members learned from different cases; none: all the same.

    Attributes:
        temperatures: (S,), stored with the weights.
    """

    temperatures: Tensor

    def __init__(
        self,
        members: Sequence[nn.Module],
        temperatures: Sequence[float] | None = None,
        specs: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.specs = list(specs)
        self.members = nn.ModuleList(members)
        values = [1.0] * len(self.members) if temperatures is None else list(temperatures)
        if len(values) != len(self.members) or not values:
            raise ValueError(f"{len(values)} temperatures for {len(self.members)} members")
        self.register_buffer("temperatures", torch.tensor(values, dtype=torch.float64))

    @property
    def readers(self) -> list[Any]:
        """List what reads each member's outputs; empty where all are read alike."""
        return [own.target for own in self.specs]

    def forward(self, x: Tensor) -> Tensor:
        """Compute the members' logits, before their temperatures: (B, ...) -> (B, S, K)."""
        return torch.stack([member(x) for member in self.members], 1)


def members_of(network: nn.Module) -> list[nn.Module]:
    """List the members of an ensemble; any other network is its own only member."""
    return list(network.members) if isinstance(network, Ensemble) else [network]


def specs_of(network: nn.Module, spec: Any) -> list[Any]:
    """List what each of `members_of` knows of its data; `spec` where they all know the same."""
    own = network.specs if isinstance(network, Ensemble) else []
    return own or [spec] * len(members_of(network))
