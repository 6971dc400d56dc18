"""Cox's partial likelihood: of all cases at risk when an event comes, how likely was it the one that had it?

Only the order of times counts, and a constant added to all risks changes nothing. A batch is its own risk set: where it
holds the whole training split the likelihood is exact, else it is an approximation by samples of the risk sets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medtrain.core.partial_likelihood import log_losses
from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision
from medtrain.target import DataSpec


def cox(spec: DataSpec) -> nn.Module:
    """Build Cox's partial likelihood, called as ``loss(risk_B1, y_B2)``.

    Raises:
        UsageError: what is predicted is no time to an event.
    """
    refuse_others(spec, "cox", "times")
    return CoxPartialLikelihood()


class CoxPartialLikelihood(nn.Module):
    """Negative log partial likelihood with Efron's ties (`core.partial_likelihood`), a mean over a batch's events."""

    def forward(self, risk_B1: Tensor, y_B2: Tensor) -> Tensor:
        """Compute a scalar in nats an event.

        Args:
            risk_B1: log hazard ratios, one column.
            y_B2: time, and 1 for an event, 0 for a censored case; rows with NaN are left out. Without an event the
                loss is 0, with a gradient of 0.
        """
        known = ~torch.isnan(y_B2).any(1)
        risk_N, time_N, event_N = full_precision(risk_B1[known, 0]), y_B2[known, 0], y_B2[known, 1] > 0.5
        if not event_N.any():
            return full_precision(risk_B1).sum() * 0.0
        return log_losses(risk_N, time_N, event_N).mean()
