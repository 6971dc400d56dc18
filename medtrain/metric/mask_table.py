"""What was measured of masks, as columns of a table with a row a case: written, and read back, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.mask_overlap import MEASURED, values_of

_COUNTED = MEASURED[MEASURED.index("volume_ml") :]


def columns_of(measured_NCM: Array, classes: Sequence[str]) -> dict[str, Array]:
    """Make {METRIC_CLASS: a value a case}: metrics, volumes and lesions, as of `measure`; NaN where there is none."""
    made: dict[str, Array] = {}
    for c, name in enumerate(classes):
        made |= {f"{metric}_{name}": values for metric, values in values_of(measured_NCM[:, c]).items()}
        made |= {f"{metric}_{name}": measured_NCM[:, c, MEASURED.index(metric)] for metric in _COUNTED}
    return made


def measured_in(table: Mapping[str, Any], classes: Sequence[str]) -> Array | None:
    """Read back `columns_of`, (N, C, M): sizes in ml instead of voxels, of which the metrics are the same.

    Args:
        table: columns by their names, blank or None where there is no value.

    Returns:
        None where columns of a class are lacking.
    """
    names = ("dice", "nsd", "hd95", *_COUNTED)
    if any(f"{metric}_{name}" not in table for name in classes for metric in names):
        return None
    return np.stack(
        [_of_class({metric: _numbers(table[f"{metric}_{name}"]) for metric in names}) for name in classes], 1
    )


def _of_class(column: Mapping[str, Array]) -> Array:
    """Arrange the columns of a class, (N, M)."""
    predicted, true = column["volume_ml"], column["true_volume_ml"]
    both = np.nan_to_num(column["dice"]) * (predicted + true) / 2
    own = {**column, "both": both, "predicted": predicted, "true": true}
    return np.stack([own[metric] for metric in MEASURED], 1)


def _numbers(column: Any) -> Array:
    return np.asarray([np.nan if value is None or value == "" else float(value) for value in column], np.float64)
