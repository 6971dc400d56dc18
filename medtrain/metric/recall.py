"""Average precision and FROC of matched predictions, for any weights of the patients.

The point value and the replicates of an interval come from the same code: the value is the replicate in which each
patient weighs one. Only what stands before a hit matters to either curve, so false positives are summed between hits,
patient by patient, once; a replicate is then a product of matrices.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from medtrain.metric.bootstrap import Array
from medtrain.metric.matching import Matches

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which COCO reads the precision."""

FALSE_POSITIVES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""An image, where FROC sensitivity is read; its mean over them is the CPM (Setio et al., LUNA16, 2017)."""


Ties = Literal["given", "against", "shared"]


class Curve:
    """The hits and false positives of one class at one threshold and range of sizes.

    Args:
        score_N: of the predictions that count, falling.
        hit_N: found a box.
        patient_N: the number 0..P-1 of each one's patient.
        boxes_P: boxes to find, of each patient.
        ties: what of equal scores comes first. ``given``: as they stand, as COCO has it; ``against``: the false
            positives, so that what is read of FROC can be had by a threshold; ``shared``: FROC is a straight line
            through them, as LUNA16 has it.
    """

    def __init__(self, score_N: Array, hit_N: Array, patient_N: Array, boxes_P: Array, ties: Ties = "given") -> None:
        if ties != "given":
            order = np.lexsort((hit_N, -score_N))
            hit_N, patient_N, score_N = hit_N[order], patient_N[order], score_N[order]
        hits_K = np.flatnonzero(hit_N)
        self.patients, self.boxes_P = len(boxes_P), boxes_P.astype(np.float64)
        self.score_K, self.patient_K = score_N[hits_K], patient_N[hits_K]
        before_N = np.searchsorted(hits_K, np.arange(len(hit_N)))  # hits before each prediction
        false = np.flatnonzero(~hit_N & (before_N < len(hits_K)))
        shape = (len(hits_K), self.patients)
        self.false_KP = csr_array((np.ones(len(false)), (before_N[false], patient_N[false])), shape=shape)
        self.tied = _Tied(score_N, hit_N, patient_N, self.patients) if ties == "shared" else None

    def counts(self, weights_PR: Array) -> tuple[Array, Array, Array]:
        """Count true and false positives at each hit, (K, R), and the boxes to find, (R,)."""
        return (
            np.cumsum(weights_PR[self.patient_K], axis=0),
            np.cumsum(self.false_KP @ weights_PR, axis=0),
            self.boxes_P @ weights_PR,
        )

    def average_precision(self, weights_PR: Array) -> Array:
        """Average the monotonic precision over 101 recalls, (R,); NaN where there is nothing to find."""
        true_KR, false_KR, boxes_R = self.counts(weights_PR)
        if not len(true_KR):
            return np.where(boxes_R > 0, 0.0, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision_KR = np.nan_to_num(true_KR / (true_KR + false_KR))
            recall_KR = true_KR / boxes_R
        best_KR = np.maximum.accumulate(precision_KR[::-1], axis=0)[::-1]
        read_KR = np.searchsorted(RECALLS, recall_KR, side="right")  # recalls up to here
        value_R = (best_KR * np.diff(read_KR, axis=0, prepend=0)).sum(axis=0) / len(RECALLS)
        return np.where(boxes_R > 0, value_R, np.nan)

    def froc(self, weights_PR: Array, images_R: Array) -> Array:
        """Compute (7, R) sensitivity at `FALSE_POSITIVES` an image; NaN where there is nothing to find.

        Between two thresholds FROC is a step, or with shared ties the line of numpy.interp over the points of
        scikit-learn's roc_curve, by which LUNA16 is evaluated. Beyond the last false positive all hits count.
        """
        _, false_KR, boxes_R = self.counts(weights_PR)
        own_KR = weights_PR[self.patient_K]
        tied_KR = np.zeros_like(false_KR) if self.tied is None else self.tied.counts(weights_PR)
        line_KR = np.where(tied_KR > 0, tied_KR, 1.0)
        hits = []
        for reach_R in (rate * images_R for rate in FALSE_POSITIVES):
            part_KR = np.where(tied_KR > 0, ((reach_R - false_KR) / line_KR + 1).clip(0, 1), false_KR <= reach_R)
            hits.append((own_KR * part_KR).sum(axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(boxes_R > 0, np.stack(hits) / boxes_R, np.nan)


class _Tied:
    """The false positives that have the score of a hit."""

    def __init__(self, score_N: Array, hit_N: Array, patient_N: Array, patients: int) -> None:
        level, self.level_K = np.unique(score_N[hit_N], return_inverse=True)
        at_N = np.searchsorted(level, score_N)
        false = np.flatnonzero(~hit_N & (at_N < len(level)))
        false = false[level[at_N[false]] == score_N[false]]
        entries = (np.ones(len(false)), (at_N[false], patient_N[false]))
        self.false_LP = csr_array(entries, shape=(len(level), patients))

    def counts(self, weights_PR: Array) -> Array:
        """Count, (K, R), those of each hit."""
        return np.asarray((self.false_LP @ weights_PR)[self.level_K])


def curve_of(matches: Matches, label: int, threshold: int, size: int, patient_I: Array, patients: int) -> Curve:
    """Arrange the curve of one class.

    Args:
        threshold, size: numbers in `matches.thresholds` and `matches.sizes`.
        patient_I: the number of each image's patient.
        patients: how many.
    """
    own = (matches.predicted.label_N == label) & ~matches.ignored_NTA[:, threshold, size]
    wanted = (matches.label_M == label) & ~matches.ignored_MA[:, size]
    return Curve(
        matches.predicted.score_N[own],
        matches.hit_NTA[own, threshold, size],
        patient_I[matches.predicted.image_N[own]],
        np.bincount(patient_I[matches.image_M[wanted]], minlength=patients),
    )
