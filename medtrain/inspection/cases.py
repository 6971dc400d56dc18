"""Cases of any kind inspected by the table that they stand in, and by nothing else."""

from __future__ import annotations

from medtrain.data.base import Data
from medtrain.inspection.findings import Bars, Inspection, no_bar
from medtrain.inspection.table import look


def inspect(data: Data, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect the rows of `data`, which need not be fit to train."""
    table = look(data)
    return table if isinstance(table, Inspection) else table.outcome(data)
