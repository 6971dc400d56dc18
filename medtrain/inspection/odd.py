"""Pictures unlike the rest: empty, clipped, turned to their negative, too small, too dark.

A limit is either plain from what it means or taken from the set itself, robustly, so that a few odd pictures among
many don't move it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.inspection.findings import Finding, of_the_set
from medtrain.inspection.measures import Measures
from medtrain.io.image_header import Header

WHITE_SHARE, BLACK_SHARE = 0.1, 0.6  # of a film; black surrounds are common, white ones are not
FAR = 6.0  # robust standard deviations
LEAST_SCALE = 0.02  # of the grey scale: sets of one exposure are no reason to call a hundredth odd
FEW = 8  # pictures below which nothing can be said of 'the rest'
ALIKE = 0.5  # the middle correlation with the typical picture from which on a set has one
NEGATIVE = -0.3
SIZE_FACTOR, SHAPE_FACTOR = 4.0, 2.0

Say = Callable[[str, NDArray[np.bool_], Sequence[str], str], list[Finding]]  # kind, which, details, severity


def odd_pictures(
    measures: Measures, headers: Sequence[Header | None], size: tuple[int, int], places: Sequence[str]
) -> list[Finding]:
    """Find pictures of the kinds constant, saturated, inverted, outlier and wrong_size.

    Args:
        headers: of each measured picture.
        size: (H, W) of training.
        places: file and row of every row of the data.
    """

    def findings(kind: str, odd_M: NDArray[np.bool_], details: Sequence[str], severity: str) -> list[Finding]:
        rows = measures.row
        return [
            Finding(Problem(kind, places[rows[m]], details[m], severity), (int(rows[m]),))
            for m in np.flatnonzero(odd_M).tolist()
        ]

    flat, live = measures.flat, ~measures.flat
    constant = [f"all pixels have the same value ({mean:.0%} of white)" for mean in measures.mean]
    clipped = [
        f"{high:.0%} of the pixels are at the greatest value, {low:.0%} at the least: clipped"
        for low, high in zip(measures.low, measures.high, strict=True)
    ]
    likeness = likeness_of(measures)
    negative = live & (likeness < NEGATIVE)
    over = live & ~negative & ((measures.high > WHITE_SHARE) | (measures.low > BLACK_SHARE))
    turned = [f"the grey scale is turned round: its likeness to the typical picture is {r:.2f}" for r in likeness]
    far, exposed = _exposure(measures, live & ~negative & ~over)
    many = len(measures)
    return [
        *findings("constant", flat, constant, "warning"),
        *findings("inverted", negative, turned, "warning"),
        *of_the_set(findings("saturated", over, clipped, "warning"), many, "are clipped"),
        *of_the_set(findings("outlier", far, exposed, "note"), many, "are far off the middle of the set"),
        *_sizes(findings, headers, size),
    ]


def likeness_of(measures: Measures) -> NDArray[np.float64]:
    """Correlate each picture with the typical one (the median of all); 0 where there is no typical one."""
    z = measures.thumb.astype(np.float32)
    z -= z.mean(1, keepdims=True)
    z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-6)
    live = z[~measures.flat]
    if len(live) < FEW:
        return np.zeros(len(z))
    typical = np.median(live, 0)
    likeness = z @ (typical / max(float(np.linalg.norm(typical)), 1e-6))
    # Films of one kind are alike; among pictures of many kinds some are each other's negatives by chance.
    return likeness.astype(np.float64) if np.median(likeness[~measures.flat]) > ALIKE else np.zeros(len(z))


def _exposure(measures: Measures, among_M: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[str]]:
    """Find which of `among_M` have a mean or an SD far off the middle, and say so of each."""
    far, details = np.zeros(len(measures), bool), [""] * len(measures)
    if among_M.sum() < FEW:
        return far, details
    for name, values in (("mean", measures.mean), ("SD", measures.sd)):
        middle = float(np.median(values[among_M]))
        scale = max(1.4826 * float(np.median(np.abs(values[among_M] - middle))), LEAST_SCALE)
        for m in np.flatnonzero(among_M & (np.abs(values - middle) > FAR * scale)).tolist():
            far[m] = True
            details[m] = (
                f"the {name} of its grey levels is {values[m]:.0%} of white; the middle of the set, {middle:.0%}"
            )
    return far, details


def _sizes(findings: Say, headers: Sequence[Header | None], size: tuple[int, int]) -> list[Finding]:
    """Find pictures that training enlarges, and pictures far larger, smaller, longer or wider than the rest."""
    hw = np.array([header.size if header else (np.nan, np.nan) for header in headers], np.float64).reshape(-1, 2)
    known = ~np.isnan(hw[:, 0])
    if not known.any():
        return []
    longest, shape = hw.max(1), hw[:, 1] / hw[:, 0]
    middle, usual = float(np.median(longest[known])), float(np.median(shape[known]))
    small = known & (hw < size).all(1)
    with np.errstate(invalid="ignore"):
        off = np.abs(np.log(longest / middle)) >= np.log(SIZE_FACTOR)
        off |= np.abs(np.log(shape / usual)) >= np.log(SHAPE_FACTOR)
    off &= known & (known.sum() >= FEW)
    details = [f"{_pixels(h, w)}; the middle of the set has a longest side of {middle:.0f}" for h, w in hw]
    enlarged = [f"{_pixels(h, w)}, enlarged to data.image_size={max(size)}" for h, w in hw]
    many = int(known.sum())
    return [
        *of_the_set(findings("wrong_size", off, details, "warning"), many, "are far off the middle size or shape"),
        *of_the_set(findings("wrong_size", small & ~off, enlarged, "note"), many, "are smaller than the working size"),
    ]


def _pixels(height: float, width: float) -> str:
    return "" if np.isnan(height) else f"{height:.0f} x {width:.0f} pixels"
