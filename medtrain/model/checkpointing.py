"""Blocks that run again in the backward pass: less memory, more time, the same training.

Chen et al., Training deep nets with sublinear memory cost, 2016. The second run leaves running statistics alone: as
torch does it, batch norms would take in each batch twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, run: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Run ``run(*inputs)`` of a module in training, keeping only its inputs; nothing in there may be random."""
    if not module.training or torch.compiler.is_compiling():  # a compiler decides itself what to recompute
        return run(*inputs)
    output: Tensor = checkpoint(
        run,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), _statistics_restored(module)),
    )
    return output


class Recomputed(nn.Module):
    """A base to put before the class of a block: its forward pass runs again in the backward pass."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return recomputed(self, super().forward, *inputs)


@contextmanager
def _statistics_restored(module: nn.Module) -> Iterator[None]:
    """Update copies of the running statistics; without any, autograd would miss tensors that it had saved."""
    buffers: list[tuple[nn.Module, str, Any]] = [
        (part, name, buffer) for part in module.modules() for name, buffer in part.named_buffers(recurse=False)
    ]
    for part, name, buffer in buffers:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in buffers:
            setattr(part, name, buffer)
