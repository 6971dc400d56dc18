"""Data modules: from the files that users have to batches. `source` gives the class behind `data.name`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from medtrain.data.sources import declared


def source(name: str) -> Any:
    """Import the LightningDataModule class of `data.name`; UsageError with the names there are."""
    module, _, attribute = declared(name).where.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
