"""Test whether a map depends on what the network learned, by networks of randomised weights.

Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018: a method whose map hardly changes when the weights are
random shows the image's edges, not the network's reasons.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from medtrain.core.stages import stages
from medtrain.core.streams import torch_seed
from medtrain.model import members_of

LIMIT = 0.7
"""Mean rank correlation from which a map is taken to be independent of the weights."""

Method = Callable[[nn.Module, Any, Tensor], Tensor]
DRAWS = 3


def sanity_check(network: nn.Module, method: Method, x_BCHW: Any, classes_B: Tensor) -> dict[str, Any]:
    """Compare maps with those of the same network with random weights.

    Args:
        x_BCHW: the inputs as the method takes them; of bags a single one.

    Returns:
        ``spearman``: mean rank correlation by what was randomised, ``top`` (the head and the part before it) and
        ``all``; None where no map could be compared. ``passed``: that of ``all`` is below `LIMIT`; a map without any
        contrast has nothing to compare and doesn't count.
    """
    maps = method(network, x_BCHW, classes_B).float().cpu().numpy()
    values = {}
    for name, parts in (("top", 2), ("all", None)):
        values[name] = [
            similarity(heat, random_heat)
            for draw in range(DRAWS)
            for heat, random_heat in zip(
                maps, method(randomised(network, draw, parts), x_BCHW, classes_B).float().cpu().numpy(), strict=True
            )
            if np.ptp(heat) > 0
        ]
    return verdict(values, len(maps))


def verdict(values: Mapping[str, Sequence[float]], images: int) -> dict[str, Any]:
    """Average rank correlations, by what was randomised, and say whether that of `all` is low enough."""
    correlations = {name: round(float(np.mean(own)), 4) if own else None for name, own in values.items()}
    whole = correlations["all"]
    return {
        "spearman": correlations,
        "images": images,
        "limit": LIMIT,
        "passed": None if whole is None else whole < LIMIT,
    }


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two maps; 0 if one of them has no contrast."""
    return float(scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def randomised(network: nn.Module, draw: int, parts: int | None = None) -> nn.Module:
    """Copy a network with random weights: as wide a normal distribution as each tensor's own; vectors are shuffled.

    So activations keep their size, whatever the architecture, and nothing else.

    Args:
        draw: another number, other weights.
        parts: randomise this many of the last `core.stages` (of each member of an ensemble); None: all.
    """
    copied = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(torch_seed(draw, "sanity"))
    chosen = [stage for member in members_of(copied) for stage in stages(member)[-parts:]] if parts else [copied]
    parameters = [p for part in chosen for p in part.parameters()]
    with torch.no_grad():
        for p in parameters:
            if p.ndim > 1:
                p.copy_(torch.randn(p.shape, generator=generator) * p.float().std().cpu())
            else:
                p.copy_(p[torch.randperm(len(p), generator=generator).to(p.device)] if p.ndim else p)
    return copied
