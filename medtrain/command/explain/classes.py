"""Which classes a map is made for: those named, or those that the decision speaks for."""

from __future__ import annotations

from typing import Any

import pandas as pd

from medtrain.command import build
from medtrain.command.trained import Trained
from medtrain.core.errors import UsageError


def wanted_classes(wanted: Any, run: Trained) -> list[str] | None:
    """The classes named, or None for the predicted one."""
    if wanted == "predicted":
        return None
    names = list(run.spec.classes) if wanted == "all" else [str(w) for w in build.plain(wanted)]
    unknown = [name for name in names if name not in run.spec.classes]
    if unknown:
        raise UsageError(f"explain.classes: {unknown[0]} is none of the run's {', '.join(run.spec.classes)}")
    return names


def decided(row: pd.Series, classes: list[str]) -> list[str]:
    """The classes that the decision says yes to: of a multilabel problem any number."""
    if "prediction" in row:
        return [str(row["prediction"])]
    return [c for c in classes if str(row[f"prediction_{c}"]) == "1"]


def predicted(row: pd.Series, classes: list[str]) -> list[str]:
    """The classes decided for, the most probable one where there is none."""
    return decided(row, classes) or [max(classes, key=lambda c: float(row[f"prob_{c}"]))]
