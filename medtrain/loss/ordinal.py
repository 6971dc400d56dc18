"""Losses of grades in order, by K - 1 outputs that say how likely more than each grade is: CORAL and CORN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec


def coral(spec: DataSpec) -> nn.Module:
    """Build CORAL's loss, called as ``loss(logits_BK, y_B)``: a sigmoid cross-entropy of "more than this grade" each.

    The K - 1 outputs share the weights of the last layer (`medtrain.model.tie_outputs`). Cao, Mirjalili and Raschka,
    Rank consistent ordinal regression for neural networks, Pattern Recognition Letters 2020, eq. 4, without weights.

    Raises:
        UsageError: the target is none of grades.
    """
    refuse_others(spec, "coral", "grades")
    return Coral()


def corn(spec: DataSpec) -> nn.Module:
    """Build CORN's loss, called as ``loss(logits_BK, y_B)``: "more than this grade", of those cases alone that have it.

    Shi, Cao and Raschka, Deep neural networks for rank-consistent ordinal regression based on conditional
    probabilities, Pattern Analysis and Applications 2023, eq. 8.

    Raises:
        UsageError: the target is none of grades.
    """
    refuse_others(spec, "corn", "grades")
    return Corn()


class Coral(nn.Module):
    """The sum over outputs of their cross-entropies, averaged over the cases whose grade is known."""

    def forward(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_B` is int64, negative where unknown (all unknown gives 0)."""
        logits_BK = full_precision(logits_BK)
        more_BK = _more(logits_BK, y_B)
        loss_BK = F.binary_cross_entropy_with_logits(logits_BK, more_BK, reduction="none")
        return masked_mean(loss_BK.sum(1), y_B >= 0)


class Corn(nn.Module):
    """The cross-entropies of conditional outputs, averaged over all pairs of case and output that tell something."""

    def forward(self, logits_BK: Tensor, y_B: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_B` is int64, negative where unknown (all unknown gives 0)."""
        logits_BK = full_precision(logits_BK)
        loss_BK = F.binary_cross_entropy_with_logits(logits_BK, _more(logits_BK, y_B), reduction="none")
        step_K = torch.arange(logits_BK.shape[1], device=y_B.device)
        return masked_mean(loss_BK, (y_B[:, None] >= step_K) & (y_B >= 0)[:, None])


def _more(logits_BK: Tensor, y_B: Tensor) -> Tensor:
    """Tell of each output whether the grade is more than its number, 1 or 0."""
    step_K = torch.arange(logits_BK.shape[1], device=y_B.device)
    return (y_B[:, None] > step_K).to(logits_BK.dtype)
