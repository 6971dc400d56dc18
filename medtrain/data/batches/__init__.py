"""Batches, a file a kind of cases: how files behind rows are read, and how cases become tensors."""

from __future__ import annotations

from importlib import import_module

from medtrain.data.base import Data
from medtrain.data.source import declared


def module_of(name: str) -> type[Data]:
    """Find the data module for the rows of `data.name`; UsageError with the names there are."""
    module = import_module(f"{__name__}.{declared(name).batches}")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Data) and kind.__module__ == module.__name__
    )
