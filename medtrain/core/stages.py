"""A network's parts in order, from input to logits: what freezing, layer-wise rates and weight randomisation share.

Any network will do: the order is that in which its parts are defined, which is the order of execution in
torchvision's, timm's and MONAI's classifiers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)
MOST = 0.8
"""A part that holds this share of all weight matrices and kernels is opened: `features`, `stages`, `blocks`."""


@dataclass
class Stage:
    """One part of a network: modules that stand at one depth, and parameters in none (position embeddings)."""

    name: str
    modules: list[nn.Module] = field(default_factory=list)
    loose: list[nn.Parameter] = field(default_factory=list)

    def parameters(self) -> list[nn.Parameter]:
        return self.loose + [p for module in self.modules for p in module.parameters()]


def stages(network: nn.Module) -> list[Stage]:
    """List the parts of a network that hold parameters, in order; the last is the head.

    A norm, and what has no weights, goes with the part before it; parts with a true ``of_head`` (attention
    pooling) go with the head.
    """
    total = sum(p.ndim > 1 for p in network.parameters())
    parts: list[Stage] = []
    head: list[nn.Module] = []
    loose = _open(network, "", total, parts, head)
    if not parts:
        return [Stage("all", [network])]
    parts[0].loose = loose
    parts[-1].modules += head
    return parts


def _open(module: nn.Module, prefix: str, total: int, parts: list[Stage], head: list[nn.Module]) -> list[nn.Parameter]:
    """Add a module's children to `parts`, opening those that hold most of the network; return its loose parameters."""
    loose = list(module.parameters(recurse=False))
    for name, child in module.named_children():
        weights = [p for p in child.parameters() if p.ndim > 1]
        if getattr(child, "of_head", False):
            head.append(child)
        elif len(weights) >= MOST * total and any(True for _ in child.children()):
            loose += _open(child, f"{prefix}{name}.", total, parts, head)
        elif parts and (isinstance(child, NORMS) or not any(True for _ in child.parameters())):
            parts[-1].modules.append(child)
        elif any(True for _ in child.parameters()):
            parts.append(Stage(prefix + name, [child]))
    return loose
