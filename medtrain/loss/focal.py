"""Focal loss: what is already classified well counts less (Lin et al., Focal loss for dense object detection, 2017).

FL = -alpha_t (1 - p_t)^gamma log p_t (eq. 5), where p_t is the probability of the true label as the network gives it:
weights stand in front of the loss and never enter p_t.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Amount, Part, Share, checked
from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.loss.weights import class_weights, positive_weights
from medtrain.target import DataSpec, LabelCounts


@checked("loss")
def focal(
    spec: DataSpec,
    counts: LabelCounts | None = None,
    gamma: Amount = 2.0,
    alpha: Share | Literal["auto"] | Sequence[float] | None = None,
    label_smoothing: Part = 0.0,
) -> nn.Module:
    """Build the focal loss that fits the labels, called as ``loss(logits_BK, y)``; a mean over the known labels.

    With gamma 0 and no alpha it is the cross-entropy.

    Args:
        spec: multiclass gives `SoftmaxFocal`, binary and multilabel `SigmoidFocal`.
        counts: labels of the training split, for ``alpha="auto"``.
        gamma: 0 or more; how much what is easy is turned down.
        alpha: None; a number in 0..1 (binary and multilabel: weight of a positive label, a negative one weighs
            1 - alpha); one a class (binary: of the negative and the positive class; multilabel: of each class's
            positive label; multiclass: of each class); or "auto": from the training split by inverse frequency, which
            is negatives / (negatives + positives), and for a softmax weights whose mean over the cases is 1.
        label_smoothing: of the cross-entropy's target; p_t stays that of the label itself.

    Raises:
        UsageError: an argument is out of range or doesn't fit the labels.
    """
    refuse_others(spec, "focal")
    alpha_C = None if alpha is None else torch.tensor(_alpha(alpha, spec, counts), dtype=torch.float32)
    if spec.target.exclusive:
        return SoftmaxFocal(gamma, alpha_C, label_smoothing)
    if alpha_C is None:
        return SigmoidFocal(gamma, None, label_smoothing)
    one_logit = spec.n_logits < len(spec.classes)  # of two classes
    alpha_2K = alpha_C[:, None] if one_logit else torch.stack([1 - alpha_C, alpha_C])
    return SigmoidFocal(gamma, alpha_2K, label_smoothing)


def _alpha(alpha: float | str | Sequence[float], spec: DataSpec, counts: LabelCounts | None) -> list[float]:
    """Spread what was given to one number a class."""
    number, exclusive = isinstance(alpha, int | float), spec.target.exclusive
    if alpha == "auto":
        if counts is None:
            raise UsageError("loss.alpha=auto needs the counts of the training split's labels")
        ratio_C = positive_weights(counts)
        return list(class_weights(counts) if exclusive else ratio_C / (1 + ratio_C))
    values: Any = alpha
    if number and not exclusive:
        values = [1 - values, values] if spec.n_logits < len(spec.classes) else [values] * len(spec.classes)
    if (
        not isinstance(values, list | tuple)
        or len(values) != len(spec.classes)
        or not all(isinstance(v, int | float) and v >= 0 and (exclusive or v <= 1) for v in values)
    ):
        one = "" if exclusive else "a number in 0..1, "
        raise UsageError(f"loss.alpha={alpha}: give {one}auto, or one number for each of {', '.join(spec.classes)}")
    return [float(v) for v in values]


class SigmoidFocal(nn.Module):
    """Focal loss of each logit on its own, averaged over the known labels.

    Args:
        gamma: 0 or more.
        alpha_2K: weights of a negative (first row) and a positive label; K or 1 columns. None: 1.
        label_smoothing: targets 0 and 1 of the cross-entropy become s/2 and 1 - s/2.
    """

    alpha_2K: Tensor | None

    def __init__(self, gamma: float = 2.0, alpha_2K: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing
        self.register_buffer("alpha_2K", alpha_2K, persistent=False)

    def forward(self, logits_BK: Tensor, y_BK: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_BK` is float in 0..1, NaN where unknown (all unknown gives 0)."""
        known_BK, logits_BK = ~torch.isnan(y_BK), full_precision(logits_BK)
        yes_BK = torch.where(known_BK, y_BK, 0).to(logits_BK.dtype)
        target_BK = yes_BK * (1 - self.label_smoothing) + self.label_smoothing / 2
        loss_BK = F.binary_cross_entropy_with_logits(logits_BK, target_BK, reduction="none")
        p_BK = logits_BK.sigmoid()
        loss_BK = _focus(loss_BK, p_BK * yes_BK + (1 - p_BK) * (1 - yes_BK), self.gamma)
        if self.alpha_2K is not None:
            no_K, positive_K = self.alpha_2K
            loss_BK = loss_BK * (positive_K * yes_BK + no_K * (1 - yes_BK))
        return masked_mean(loss_BK, known_BK)


class SoftmaxFocal(nn.Module):
    """Focal loss of one class out of several, averaged over the cases whose class is known.

    Args:
        gamma: 0 or more.
        alpha_K: a weight a class; None: 1.
        label_smoothing: of the cross-entropy, as `MulticlassCrossEntropy` has it.
    """

    alpha_K: Tensor | None

    def __init__(self, gamma: float = 2.0, alpha_K: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing
        self.register_buffer("alpha_K", alpha_K, persistent=False)

    def forward(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_B` is int64 in 0..K-1, negative where unknown (all unknown gives 0)."""
        known_B, class_B, logits_BK = y_B >= 0, y_B.clamp(min=0), full_precision(logits_BK)
        loss_B = F.cross_entropy(logits_BK, class_B, reduction="none", label_smoothing=self.label_smoothing)
        p_B = logits_BK.softmax(1).gather(1, class_B[:, None])[:, 0]
        loss_B = _focus(loss_B, p_B, self.gamma)
        return masked_mean(loss_B if self.alpha_K is None else loss_B * self.alpha_K[class_B], known_B)


def _focus(loss: Tensor, p_t: Tensor, gamma: float) -> Tensor:
    """Weigh the loss by (1 - p_t)^gamma; the slope of a power below 1 is infinite at 0, so that is kept away."""
    return loss * (1 - p_t).clamp(min=torch.finfo(p_t.dtype).eps) ** gamma
