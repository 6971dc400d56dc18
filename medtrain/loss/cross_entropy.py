"""Cross-entropy for each kind of label; the default loss, and what the others must equal in their plain case."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Part, checked
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec


@checked("loss")
def cross_entropy(spec: DataSpec, label_smoothing: Part = 0.0) -> nn.Module:
    """Build the cross-entropy that fits the labels, called as ``loss(logits_BK, y)``.

    Args:
        spec: multiclass gives `MulticlassCrossEntropy`, binary and multilabel `BinaryCrossEntropy`.
        label_smoothing: in [0, 1); the share of each target that is spread evenly over the classes (of a binary
            or multilabel target: over yes and no). Szegedy et al., Rethinking the Inception architecture, 2016.

    Raises:
        UsageError: `label_smoothing` is out of range, or the target has no probabilities (boxes).
    """
    refuse_others(spec, "cross_entropy")
    if spec.target.exclusive:
        return MulticlassCrossEntropy(label_smoothing)
    return BinaryCrossEntropy(label_smoothing)


LOSSES_OF = {  # a target's form, and the losses that learn from it
    "values": "mse, mae, huber or gaussian",
    "grades": "cross_entropy, coral, corn, focal or balanced_cross_entropy",
    "probabilities": "cross_entropy, focal or balanced_cross_entropy",
    "boxes": "a detector's own (detection, own)",
}


def refuse_others(spec: DataSpec, loss: str, form: str = "probabilities") -> None:
    """Raise a UsageError, which names those that fit, where the target has not the form that a loss learns from."""
    if form in spec.target.forms:
        return
    fitting = next((names for own, names in LOSSES_OF.items() if own in spec.target.forms), "one of its own")
    other = {"values": ", or data.target=value", "grades": ", or data.target=ordinal"}.get(form, "")
    raise UsageError(f"loss={loss} doesn't fit a target of kind {spec.target.kind}: take {fitting}{other}")


class BinaryCrossEntropy(nn.Module):
    """Sigmoid cross-entropy of each logit on its own, averaged over the known labels.

    Args:
        label_smoothing: targets 0 and 1 become s/2 and 1 - s/2.
        pos_weight_K: what a positive label counts, one a logit, as torch's ``BCEWithLogitsLoss`` has it; None: 1.
    """

    pos_weight_K: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, pos_weight_K: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("pos_weight_K", pos_weight_K, persistent=False)

    def forward(self, logits_BK: Tensor, y_BK: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_BK` is float in 0..1, NaN where unknown (all unknown gives 0)."""
        known_BK = ~torch.isnan(y_BK)
        target_BK = torch.where(known_BK, y_BK, 0) * (1 - self.label_smoothing) + self.label_smoothing / 2
        logits_BK = full_precision(logits_BK)
        loss_BK = F.binary_cross_entropy_with_logits(
            logits_BK, target_BK.to(logits_BK.dtype), reduction="none", pos_weight=self.pos_weight_K
        )
        return masked_mean(loss_BK, known_BK)


class MulticlassCrossEntropy(nn.Module):
    """Softmax cross-entropy, averaged over the cases whose class is known.

    Args:
        label_smoothing: the true class's target becomes 1 - s + s/K, the others' s/K.
        weight_K: what a case of each class counts, in sum and divisor, as torch's ``CrossEntropyLoss`` has it; None: 1.
    """

    weight_K: Tensor | None

    def __init__(self, label_smoothing: float = 0.0, weight_K: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weight_K", weight_K, persistent=False)

    def forward(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_B` is int64 in 0..K-1, negative where unknown (all unknown gives 0)."""
        known_B, class_B, logits_BK = y_B >= 0, y_B.clamp(min=0), full_precision(logits_BK)
        weight_K = None if self.weight_K is None else self.weight_K.to(logits_BK.dtype)
        loss_B = F.cross_entropy(logits_BK, class_B, weight_K, reduction="none", label_smoothing=self.label_smoothing)
        return masked_mean(loss_B, known_B, None if weight_K is None else weight_K[class_B])
