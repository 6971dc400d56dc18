"""Faults of data, all of them at once: those that training would refuse, and those that only a look would show."""

from __future__ import annotations

from importlib import import_module

from medtrain.data.base import Data
from medtrain.inspection.findings import Bars, Finding, Inspection, no_bar
from medtrain.inspection.measures import Measures, measure
from medtrain.inspection.odd import odd_pictures
from medtrain.inspection.table import Looked, look
from medtrain.inspection.twins import Known, duplicates, near_duplicates


def inspect_data(data: Data, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Look data over, which need not be fit to train, by the file of this room that the data name (`Data.inspector`).

    Args:
        near: also look for pictures that look the same, whose cost grows with the square of their number.
        progress: gives for the title of a pass what is called with (done, total) cases.

    Raises:
        UsageError: the configuration does not fit the data, so that nothing can be said.
    """
    made: Inspection = import_module(f"{__name__}.{data.inspector}").inspect(data, near, progress)
    return made


__all__ = [
    "Finding",
    "Inspection",
    "Known",
    "Looked",
    "Measures",
    "duplicates",
    "inspect_data",
    "look",
    "measure",
    "near_duplicates",
    "odd_pictures",
]
