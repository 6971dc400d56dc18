"""How far metrics of folds, or of whole cross-validations, are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Spread = dict[str, dict[str, Any]]


def spread_over(values: Sequence[Mapping[str, float | None]]) -> Spread | None:
    """Compute mean and standard deviation (n - 1) of each metric over folds or repeats; undefined ones left out."""
    if len(values) < 2:
        return None
    spread: Spread = {}
    for name in values[0]:
        entries = [value[name] for value in values]
        defined = [value for value in entries if value is not None]
        spread[name] = {
            "mean": float(np.mean(defined)) if defined else None,
            "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            "values": entries,
        }
    return spread
