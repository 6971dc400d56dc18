"""Classes that a map is made for: those named, or those that the decision speaks for."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from medtrain.core.errors import UsageError


def wanted_classes(wanted: str | list[str], classes: Sequence[str]) -> list[str] | None:
    """List the classes that explain.classes names; None for the predicted one.

    Raises:
        UsageError: a name that is no class.
    """
    if wanted == "predicted":
        return None
    names = list(classes) if wanted == "all" else [str(w) for w in wanted]
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise UsageError(f"explain.classes: {unknown[0]} is none of the run's {', '.join(classes)}")
    return names


def decided(row: pd.Series, classes: Sequence[str]) -> list[str]:
    """List the classes that the decision says yes to: of a multilabel problem any number."""
    if not any(f"prob_{c}" in row for c in classes):  # quantities
        return list(classes)
    if "prediction" in row:
        return [str(row["prediction"])]
    return [c for c in classes if str(row[f"prediction_{c}"]) == "1"]


def predicted(row: pd.Series, classes: list[str]) -> list[str]:
    """List the classes decided for; the most probable one where there is none."""
    return decided(row, classes) or [max(classes, key=lambda c: float(row[f"prob_{c}"]))]


def number_of(row: pd.Series, name: str) -> float:
    """Give the probability of a class, the predicted quantity of that name, or the risk of the event."""
    columns = (f"prob_{name}", f"prediction_{name}", "prediction", "risk")
    return float(row[next(column for column in columns if column in row)])


def in_words(row: pd.Series, name: str) -> str:
    """Write a class with its probability, or a quantity or an event's risk with its value."""
    if f"prob_{name}" in row:
        return f"{name} (probability {number_of(row, name):.3f})"
    return f"{name} ({number_of(row, name):.4g})"


def decision_in_words(row: pd.Series, classes: Sequence[str]) -> str:
    """Write what was decided of a case: classes with | between, or quantities with their values."""
    names = decided(row, classes)
    return "|".join(names if any(f"prob_{c}" in row for c in classes) else (in_words(row, name) for name in names))
