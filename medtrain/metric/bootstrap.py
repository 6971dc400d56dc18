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
from scipy.special import ndtr, stdtrit

from medtrain.core.streams import stream

Array = npt.NDArray[Any]
Interval = tuple[float, float]
Key = TypeVar("Key", bound=Hashable)

CHUNK = 1_000_000  # counts held at a time: 8 MB


def patient_counts(n_patients: int, replicates: int, seed: int = 0, chunk: int = CHUNK) -> Iterator[Array]:
    """Draw how often each patient occurs in bootstrap replicates, a chunk of replicates at a time.

    A replicate draws P of the P patients with replacement.

    Args:
        n_patients: P.
        replicates: how many replicates in all.
        seed: the same seed gives the same counts, whatever the chunk.
        chunk: about how many counts to hold at a time (8 bytes each).

    Yields:
        counts_RP, int64, the replicates adding up to `replicates`.
    """
    if not n_patients:
        return
    rng = stream(seed, "bootstrap")
    rows = max(1, chunk // n_patients)
    for start in range(0, replicates, rows):
        r = min(rows, replicates - start)
        drawn = rng.integers(0, n_patients, size=(r, n_patients))
        drawn += np.arange(r)[:, None] * n_patients
        yield np.bincount(drawn.ravel(), minlength=r * n_patients).reshape(r, n_patients)


def patient_weights(
    patients: Sequence[Any] | Array | None, n_cases: int, replicates: int, seed: int = 0, chunk: int = CHUNK
) -> Iterator[Array]:
    """Draw case weights of bootstrap replicates: a case weighs as often as its patient was drawn.

    Args:
        patients: the patient of each of the N cases; None makes each case its own patient.
        n_cases: N.
        replicates, seed, chunk: as in `patient_counts`.

    Yields:
        weights_RN, float64, the replicates adding up to `replicates`.
    """
    index_N, n_patients = patient_index(patients, n_cases)
    for counts_RP in patient_counts(n_patients, replicates, seed, chunk * n_patients // max(1, n_cases)):
        yield counts_RP.astype(np.float64)[:, index_N]


def patient_index(patients: Sequence[Any] | Array | None, n_cases: int) -> tuple[Array, int]:
    """Number the patients: 0..P-1 for each case's patient, and P.

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
    """Compute any number of statistics over the same replicates.

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


def percentile_interval(values_R: Array, level: float = 0.95, patients: int | None = None) -> Interval | None:
    """Compute the percentile interval of replicate values (Efron & Tibshirani 1993, section 13.3).

    Replicates in which the statistic is undefined (NaN: say, no positive case was drawn) are dropped; None when
    nothing is left. A statistic at the end of its range in the data (an AUROC of exactly 1) doesn't vary in
    replicates: the intervals of metrics come from `medtrain.metric.interval`, this one is of differences.

    Args:
        values_R: the replicates.
        level: of confidence.
        patients: how many patients were resampled. The interval is then the expanded one of Hesterberg (The American
            Statistician 2015, section 4.3), which makes up for the spread that few patients lack in a bootstrap:
            its percentiles lie as far out as Student's t does beyond the normal. None: the plain percentiles.
    """
    defined = values_R[np.isfinite(values_R)]
    if not len(defined):
        return None
    tail = (1 - level) / 2
    if patients is not None and patients > 1:
        tail = float(ndtr(np.sqrt(patients / (patients - 1)) * stdtrit(patients - 1, tail)))
    low, high = np.percentile(defined, [100 * tail, 100 * (1 - tail)])
    return float(low), float(high)
