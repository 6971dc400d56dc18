"""Outputs of evaluated batches, brought to the CPU and together from all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
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


def select(outputs: Outputs, wanted: Tensor) -> Outputs:
    """Take the rows of some cases, of outputs whose tensors and lists have an item a row of ``case``.

    Args:
        wanted: numbers of cases.
    """
    parts = []
    for batch in outputs:
        rows = torch.isin(batch["case"], wanted)
        if rows.any():
            parts.append({key: _rows(value, rows) for key, value in batch.items()})
    return parts


def _rows(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Mapping):
        return {key: _rows(own, rows) for key, own in value.items()}
    if isinstance(value, Tensor):
        return value[rows]
    return [item for item, there in zip(value, rows.tolist(), strict=True) if there]


def to_cpu(value: Any) -> Any:
    """Move the tensors of nested mappings and lists to the CPU, without their graph."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {k: to_cpu(v) for k, v in value.items()}
    return [to_cpu(v) for v in value] if isinstance(value, list | tuple) else value
