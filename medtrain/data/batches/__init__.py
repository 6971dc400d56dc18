"""Batches, a file a kind of cases: how files behind rows are read, and how cases become tensors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from medtrain.data.base import Data
from medtrain.data.settings import learns_masks
from medtrain.data.source import declared

MASKS = "masks"  # the file of batches whose labels are masks, whatever their source


def module_of(node: Mapping[str, Any]) -> type[Data]:
    """Find the data module for the rows of a data node (name, label_from); UsageError with the names there are."""
    made_by = declared(node["name"]).batches
    module = import_module(f"{__name__}.{MASKS if learns_masks(node) else made_by}")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Data) and kind.__module__ == module.__name__
    )
