"""Agreement of attention with a drawn tumour: tiles ranked within each slide, and the slides' mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.metric.bootstrap import percentile_interval, replicate
from medtrain.metric.ranking import auroc

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
        ``value`` and ``ci95``, both None where no slide holds both; ``slides``: how many do.
    """
    aurocs = np.array([auroc(scores, marks) for scores, marks in zip(relevance, tumour, strict=True)])
    both = np.isfinite(aurocs)
    values_M, of = aurocs[both], np.asarray(patients, dtype=object)[both]
    if not len(values_M):
        return {"value": None, "ci95": None, "slides": 0}

    def mean(weights_RM: Array) -> dict[str, Array]:
        return {"auroc": (weights_RM @ values_M) / weights_RM.sum(1)}

    means = replicate(mean, of, len(values_M), bootstrap)
    interval = percentile_interval(means["auroc"], patients=len(set(of))) if means else None
    return {
        "value": float(values_M.mean()),
        "ci95": None if interval is None else list(interval),
        "slides": len(values_M),
    }
