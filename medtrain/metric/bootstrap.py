"""Confidence intervals that respect patients: cases of one patient are not independent.

Resampling images as if they were gives intervals that are far too narrow (eight images a patient: a nominal 95 %
interval covers the truth about half of the time). Here whole patients are drawn with replacement (the cluster
bootstrap; Field & Welsh, J. R. Statist. Soc. B 2007; Davison & Hinkley 1997, section 3.8). A replicate is never
copied out: it is a row of integer case weights, so every metric is computed for a chunk of replicates at once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from medtrain.core.streams import stream

Array = npt.NDArray[Any]
Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)

CHUNK = 300_000  # weights held at a time: 2.4 MB, which a core keeps near


def patient_weights(
    patients: Sequence[Any] | Array | None, n_cases: int, replicates: int, seed: int = 0, chunk: int = CHUNK
) -> Iterator[Array]:
    """Case weights of bootstrap replicates, a chunk of replicates at a time.

    A replicate draws P of the P patients with replacement; a case weighs as often as its patient was drawn.

    Args:
        patients: the patient of each of the N cases; None makes each case its own patient.
        n_cases: N.
        replicates: how many replicates in all.
        seed: the same seed gives the same weights, whatever the chunk.
        chunk: about how many weights to hold at a time (memory is 8 bytes each).

    Yields:
        weights_RN, float64, the replicates adding up to `replicates`.
    """
    index_N, n_patients = patient_index(patients, n_cases)
    if not n_cases:
        return
    rng = stream(seed, "bootstrap")
    rows = max(1, chunk // n_cases)
    for start in range(0, replicates, rows):
        r = min(rows, replicates - start)
        drawn = rng.integers(0, n_patients, size=(r, n_patients))
        drawn += np.arange(r)[:, None] * n_patients
        counts_RP = np.bincount(drawn.ravel(), minlength=r * n_patients).reshape(r, n_patients)
        yield counts_RP.astype(np.float64)[:, index_N]


def patient_index(patients: Sequence[Any] | Array | None, n_cases: int) -> tuple[Array, int]:
    """The number 0..P-1 of each case's patient, and P.

    Raises:
        ValueError: there isn't one patient a case.
    """
    if patients is None:
        return np.arange(n_cases), n_cases
    if len(patients) != n_cases:
        raise ValueError(f"{len(patients)} patients for {n_cases} cases")
    names, index_N = np.unique(np.asarray([str(p) for p in patients], dtype=object), return_inverse=True)
    return index_N.reshape(-1), len(names)


def replicate(
    statistics: Callable[[Array], dict[Key, Array]],
    patients: Sequence[Any] | Array | None,
    n_cases: int,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[Key, Array]:
    """Any number of statistics over the same replicates.

    Args:
        statistics: weights_RN -> {name: values_R}; NaN where undefined.
        patients: as in `patient_weights`.
        n_cases: N.
        replicates: how many.
        seed: of the replicates.

    Returns:
        {name: one value a replicate}; empty for no replicates and for fewer than two patients, whose spread can't
        be known.
    """
    if replicates <= 0 or patient_index(patients, n_cases)[1] < 2:
        return {}
    parts: dict[Key, list[Array]] = {}
    for weights_RN in patient_weights(patients, n_cases, replicates, seed):
        for key, values_R in statistics(weights_RN).items():
            parts.setdefault(key, []).append(values_R)
    return {key: np.concatenate(values) for key, values in parts.items()}


def percentile_interval(values_R: Array, level: float = 0.95) -> Interval | None:
    """Percentile interval of replicate values (Efron & Tibshirani 1993, section 13.3).

    Replicates in which the statistic is undefined (NaN: say, no positive case was drawn) are dropped; None when
    nothing is left. A statistic at the end of its range in the data (an AUROC of exactly 1) gets an interval
    without width: that shows too few cases, not certainty.
    """
    defined = values_R[np.isfinite(values_R)]
    if not len(defined):
        return None
    tail = 50 * (1 - level)
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)
