"""Which boxes find a lesion: by overlap, or as LUNA16 has it by their centre; what FROC and thresholds count.

Average precision is COCO's and counts 100 boxes of an image and class at most. Sensitivity, F1 and FROC count all: a
reader who is shown 150 boxes looks at 150.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric.bootstrap import Array
from medtrain.metric.matching import match
from medtrain.metric.recall import Curve

Hit = Literal["iou", "centre"]


@dataclass(frozen=True)
class HitRule:
    """How a box finds a lesion of its class in its image.

    `iou`: the boxes take turns from the surest on, and each takes the free lesion that it overlaps most, if by an IoU
    of `iou` at least; so a second box on a lesion is a false positive. Boxes that overlap a crowd or a difficult lesion
    only count nowhere; see `medtrain.metric.matching` for what that is.

    `centre`: the rule of LUNA16 (Setio et al., Medical Image Analysis 2017; noduleCADEvaluationLUNA16.py). A box hits
    each lesion within which its centre (the middle of its edges) lies: strictly inside the ellipse inscribed in the
    lesion's box, which for a square box is the circle around the lesion's centre with half of its diameter as radius.
    The surest of the boxes that hit a lesion finds it, the others count nowhere, and so do boxes that hit nothing but
    crowds or difficult lesions (LUNA16's excluded findings). A box between two overlapping lesions may find both.

    Args:
        hit: the rule.
        iou: of the first.
    """

    hit: Hit = "iou"
    iou: float = 0.5


BY_OVERLAP = HitRule()


@dataclass(frozen=True)
class Hits:
    """The lesions found and the false positives of all images, from the surest on.

    Args:
        score_E: of the box that finds the lesion, or of the false positive.
        true_E: is it a lesion found?
        label_E, image_E: class and image.
        label_M, image_M: the lesions there are to find: no crowd, none that is difficult.
        rule: by which.
    """

    score_E: Array
    true_E: Array
    label_E: Array
    image_E: Array
    label_M: Array
    image_M: Array
    rule: HitRule

    def curve(self, label: int, patient_I: Array, patients: int) -> Curve:
        """Arrange FROC's curve of one class; of equal scores LUNA16 interpolates, else false positives come first.

        Args:
            patient_I: the number of each image's patient, of `patients`.
        """
        own, wanted = self.label_E == label, self.label_M == label
        return Curve(
            self.score_E[own],
            self.true_E[own],
            patient_I[self.image_E[own]],
            np.bincount(patient_I[self.image_M[wanted]], minlength=patients),
            "shared" if self.rule.hit == "centre" else "against",
        )


def find_hits(truth: Truth, predicted: PredictedBoxes, rule: HitRule) -> Hits:
    """Judge every predicted box by the rule; all of them count, however many an image has."""
    parts = _by_centre(truth, predicted) if rule.hit == "centre" else _by_overlap(truth, predicted, rule.iou)
    score, true, label, image = parts
    surest = np.lexsort((image, -score))
    wanted = ~truth.crowd_M
    return Hits(
        score[surest],
        true[surest],
        label[surest],
        image[surest],
        truth.label_M[wanted],
        truth.case_M[wanted],
        rule,
    )


def _by_overlap(truth: Truth, predicted: PredictedBoxes, iou: float) -> tuple[Array, Array, Array, Array]:
    matches = match(truth, predicted, [iou])
    counts = ~matches.ignored_NTA[:, 0, 0]
    own = matches.predicted.select(counts)
    return own.score_N, matches.hit_NTA[counts, 0, 0], own.label_N, own.image_N


def _by_centre(truth: Truth, predicted: PredictedBoxes) -> tuple[Array, Array, Array, Array]:
    box_Q, lesion_Q = _centres_inside(truth, predicted)
    best_M = np.full(len(truth.boxes_M4), -np.inf)
    np.maximum.at(best_M, lesion_Q, predicted.score_N[box_Q])
    is_hit_M = np.isfinite(best_M) & ~truth.crowd_M
    false = np.ones(len(predicted.score_N), bool)
    false[box_Q] = False
    return (
        np.concatenate([best_M[is_hit_M], predicted.score_N[false]]),
        np.repeat([True, False], [is_hit_M.sum(), false.sum()]),
        np.concatenate([truth.label_M[is_hit_M], predicted.label_N[false]]),
        np.concatenate([truth.case_M[is_hit_M], predicted.image_N[false]]),
    )


def _centres_inside(truth: Truth, predicted: PredictedBoxes) -> tuple[Array, Array]:
    """List (box, lesion) of the same image and class where the box's centre lies within the lesion."""
    classes = 1 + max(int(part.max(initial=0)) for part in (truth.label_M, predicted.label_N))
    key_N, key_M = predicted.image_N * classes + predicted.label_N, truth.case_M * classes + truth.label_M
    order_M = np.argsort(key_M, kind="stable")
    first_N, last_N = (np.searchsorted(key_M[order_M], key_N, side) for side in ("left", "right"))
    number_N = last_N - first_N
    box_Q = np.repeat(np.arange(len(key_N)), number_N)
    within_Q = np.arange(len(box_Q)) - np.repeat(np.cumsum(number_N) - number_N, number_N)
    lesion_Q = order_M[first_N[box_Q] + within_Q]
    boxes_Q4, lesions_Q4 = predicted.boxes_N4[box_Q], truth.boxes_M4[lesion_Q]
    apart_Q2 = (boxes_Q4[:, :2] + boxes_Q4[:, 2:] - lesions_Q4[:, :2] - lesions_Q4[:, 2:]) / 2
    sides_Q2 = lesions_Q4[:, 2:] - lesions_Q4[:, :2]
    # (dx / (w/2))^2 + (dy / (h/2))^2 < 1, without a division by the sides of a box without extent
    inside_Q = ((apart_Q2 * sides_Q2[:, ::-1]) ** 2).sum(1) < (sides_Q2.prod(1) / 2) ** 2
    return box_Q[inside_Q], lesion_Q[inside_Q]
