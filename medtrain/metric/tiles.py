"""Agreement of attention with a drawn tumour: tiles ranked within each slide, and the slides' mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.metric.bootstrap import replicate
from medtrain.metric.interval import Form, spread, write
from medtrain.metric.ranking import auroc
from medtrain.metric.share import bounded_limits

Array = npt.NDArray[Any]


def tile_auroc(
    relevance: Sequence[Array], tumour: Sequence[Array], patients: Sequence[str], bootstrap: int
) -> dict[str, Any]:
    """Compute the AUROC of tiles within a slide, tumour against the rest, as a mean over slides that hold both.

    Within slides, because attention sums to 1 in each: that of a small slide is no higher for meaning more.

    Args:
        relevance: of each slide's tiles, (n,).
        tumour: 1 inside, 0 outside, NaN unknown, (n,).
        patients: of each slide.
        bootstrap: replicates of the interval, over patients.

    Returns:
        ``value`` and ``ci95`` as `medtrain.metric.interval.write` makes them, both None where no slide holds both;
        ``slides``: how many do.
    """
    aurocs = np.array([auroc(scores, marks) for scores, marks in zip(relevance, tumour, strict=True)])
    both = np.isfinite(aurocs)
    values_M, of = aurocs[both], np.asarray(patients, dtype=object)[both]
    if not len(values_M):
        return {"value": None, "ci95": None, "slides": 0}

    def mean(weights_RM: Array) -> dict[str, Array]:
        return {"auroc": (weights_RM @ values_M) / weights_RM.sum(1)}

    value, n = float(values_M.mean()), len(set(of))
    means_R = replicate(mean, of, len(values_M), max(0, bootstrap)).get("auroc")
    if means_R is None:
        return write(value, Form((np.nan, np.nan), (n,)) if bootstrap else None) | {"slides": len(values_M)}
    form = Form(bounded_limits(value, spread(means_R, n), n, n * min(value, 1 - value)), (n,))
    return write(value, form, means_R) | {"slides": len(values_M)}
