"""Outputs of evaluated batches, brought to the CPU and together from all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.distributed as dist
from torch import Tensor

Outputs = list[dict[str, Any]]  # of all batches and ranks


def several_ranks() -> bool:
    """Tell whether other processes evaluate with this one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gather(outputs: Outputs) -> Outputs:
    """Collect the outputs of all ranks, in their order, on each of them."""
    if not several_ranks():
        return outputs
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, outputs)
    return [batch for part in everyone for batch in part]


def to_cpu(value: Any) -> Any:
    """Move the tensors of nested mappings and lists to the CPU, without their graph."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {k: to_cpu(v) for k, v in value.items()}
    return [to_cpu(v) for v in value] if isinstance(value, list | tuple) else value
