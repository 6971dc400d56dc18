"""Do cases with a higher risk have their events earlier? Harrell's C, Uno's C, and the AUROC at a horizon.

Each is a weighted share of pairs in order. Pairs share cases, and cases share patients, so a spread is taken from what
each case contributes (its influence): the share's derivative by the case's weight, the first term of Hoeffding's
decomposition. Weights that make up for censoring count as known, which makes intervals a little too wide, if anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medtrain.metric.bootstrap import Array
from medtrain.metric.follow_up import FollowUp, censoring

BLOCK = 512  # rows of pairs held at a time


@dataclass(frozen=True)
class Estimate:
    """A number and what each of N cases contributes to its error.

    Args:
        value: NaN where undefined.
        influence_N: the value's derivative by each case's weight; its sum is 0.
        behind_N: cases on either side of the comparison, (2, N) bool.
    """

    value: float
    influence_N: Array
    behind_N: Array


def concordance(
    risk_N: Array, cases: FollowUp, weight_N: Array | None = None, until: float = np.inf, fold_N: Array | None = None
) -> Estimate:
    """Compute the share of comparable pairs in which the case with the earlier event has the higher risk.

    Comparable are an event and a case followed longer, or as long without an event; equal risks count half (Harrell et
    al., Stat. Med. 1996).

    Args:
        weight_N: of each case's event; None: 1, which is Harrell's C.
        until: events at this time or later are not counted.
        fold_N: the fold of each case, in which alone it is compared; None: with all.
    """
    time_N, event_N = np.asarray(cases.time_N), np.asarray(cases.event_N, bool)
    own = event_N & (time_N < until)
    weight_N = own.astype(np.float64) if weight_N is None else np.where(own, weight_N, 0.0)
    rows = np.flatnonzero(weight_N > 0)

    def blocks() -> Iterator[tuple[Array, Array]]:
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            later = time_N[part, None] < time_N
            compared = later | ((time_N[part, None] == time_N) & ~event_N)
            yield part, compared if fold_N is None else compared & (fold_N[part, None] == fold_N)

    return _share(np.asarray(risk_N), weight_N, blocks())


def uno(risk_N: Array, cases: FollowUp, until: float = np.inf) -> Estimate:
    """Compute Uno's C, which unlike Harrell's does not depend on who was censored when (Uno et al., Stat. Med. 2011).

    Pairs are weighted by 1 over the squared chance of being still followed, estimated from these cases.
    """
    left_N = censoring(cases).value_at(cases.time_N)
    weight_N = np.divide(1.0, left_N**2, out=np.zeros(len(left_N)), where=left_N > 0)
    return concordance(risk_N, cases, weight_N, until)


def horizon_auroc(risk_N: Array, cases: FollowUp, horizon: float) -> Estimate:
    """Compute the AUROC of events up to a horizon against cases followed beyond it (cumulative/dynamic).

    Cases censored before are compared with nobody; events are weighted by 1 over the chance of being still followed at
    their time (Uno et al., JASA 2007; Hung & Chiang, Canadian J. Stat. 2010).
    """
    time_N, event_N = np.asarray(cases.time_N), np.asarray(cases.event_N, bool)
    left_N = censoring(cases).value_at(time_N)
    weight_N = np.divide(1.0, left_N, out=np.zeros(len(left_N)), where=(left_N > 0) & event_N & (time_N <= horizon))
    rows, beyond_N = np.flatnonzero(weight_N > 0), time_N > horizon
    parts = (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
    return _share(np.asarray(risk_N), weight_N, ((part, np.tile(beyond_N, (len(part), 1))) for part in parts))


def _share(risk_N: Array, weight_N: Array, blocks: Iterator[tuple[Array, Array]]) -> Estimate:
    """Compute the weighted share of pairs in order.

    Args:
        weight_N: of the first of each pair.
        blocks: of rows: their numbers, and (rows, N) which cases each is compared with.
    """
    n = len(risk_N)
    above_N, pairs_N, behind_N = np.zeros(n), np.zeros(n), np.zeros((2, n), bool)
    for part, compared in blocks:
        order = np.where(risk_N[part, None] > risk_N, 1.0, np.where(risk_N[part, None] == risk_N, 0.5, 0.0))
        weights = weight_N[part, None] * compared
        right = weights * order
        above_N += right.sum(axis=0)
        pairs_N += weights.sum(axis=0)
        above_N[part] += right.sum(axis=1)
        pairs_N[part] += weights.sum(axis=1)
        behind_N[0, part] |= compared.any(axis=1)
        behind_N[1] |= compared.any(axis=0)
    whole = pairs_N.sum() / 2
    if whole <= 0:
        return Estimate(np.nan, np.zeros(n), behind_N)
    value = float(above_N.sum() / 2 / whole)
    return Estimate(value, (above_N - value * pairs_N) / whole, behind_N)
