"""Cross-entropy in which rare labels count more, by weights that the training split's counts decide."""

from __future__ import annotations

import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Part, checked
from medtrain.loss.cross_entropy import BinaryCrossEntropy, MulticlassCrossEntropy, refuse_others
from medtrain.loss.weights import Scheme, class_weights, positive_weights
from medtrain.target import DataSpec, LabelCounts


@checked("loss")
def balanced_cross_entropy(
    spec: DataSpec,
    counts: LabelCounts | None = None,
    weights: Scheme = "inverse",
    beta: Part = 0.999,
    label_smoothing: Part = 0.0,
) -> nn.Module:
    """Build the weighted cross-entropy that fits the labels, called as ``loss(logits_BK, y)``.

    Multiclass: a weight a class, and torch's weighted mean (the sum is divided by the weights of the batch's cases).
    Binary and multilabel: a weight on each class's positive labels, and the plain mean, as torch has it.

    Args:
        spec: of the data.
        counts: labels of the training split.
        weights: inverse, sqrt_inverse or effective_number; see `medtrain.loss.weights`.
        beta: of effective_number.
        label_smoothing: as `cross_entropy` has it.

    Raises:
        UsageError: an argument is out of range, or the counts are missing.
    """
    refuse_others(spec, "balanced_cross_entropy")
    if counts is None:
        raise UsageError("loss: balanced_cross_entropy needs the counts of the training split's labels")
    if spec.target.exclusive:
        weight_K = torch.tensor(class_weights(counts, weights, beta), dtype=torch.float32)
        return MulticlassCrossEntropy(label_smoothing, weight_K)
    pos_weight_K = torch.tensor(positive_weights(counts, weights, beta)[-spec.n_logits :], dtype=torch.float32)
    return BinaryCrossEntropy(label_smoothing, pos_weight_K)
