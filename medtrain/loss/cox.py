"""Cox's partial likelihood: of all cases at risk when an event comes, how likely was it the one that had it?

Only the order of times counts, and a constant added to all risks changes nothing. A batch is its own risk set: where it
holds the whole training split the likelihood is exact, else it is an approximation by samples of the risk sets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    """Negative log partial likelihood with Efron's ties (Efron, JASA 1977), a mean over the events of a batch.

    Of d events at one time, with R the sum of exp(risk) of all at risk and D that of the d events, the sum over
    l = 0 ... d - 1 of log(R - l/d D) takes the place of d log R (Breslow's), which ties would bias.
    """

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
        order = torch.argsort(time_N, descending=True, stable=True)
        risk_N, time_N, event_N = risk_N[order], time_N[order], event_N[order]
        _, group_N, size_G = torch.unique_consecutive(time_N, return_inverse=True, return_counts=True)
        last_G = size_G.cumsum(0) - 1
        at_risk_E = torch.logcumsumexp(risk_N, 0)[last_G][group_N[event_N]]
        own_E, group_E = risk_N[event_N], group_N[event_N]
        tied_E, share_E = _tied(own_E, group_E, len(size_G))
        log_left_E = at_risk_E + torch.log1p(-share_E * (tied_E - at_risk_E).clamp(max=0).exp())
        return (log_left_E - own_E).mean()


def _tied(risk_E: Tensor, group_E: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Compute the log of the summed exp(risk) of the events at each event's time, and l/d of each of them."""
    count_G = torch.bincount(group_E, minlength=groups)
    first_G = count_G.cumsum(0) - count_G  # events are sorted by group
    place_E = torch.arange(len(group_E), device=group_E.device) - first_G[group_E]
    most_G = risk_E.new_full((groups,), -torch.inf).scatter_reduce(0, group_E, risk_E.detach(), "amax")
    sum_G = risk_E.new_zeros(groups).index_add(0, group_E, (risk_E - most_G[group_E]).exp())
    return most_G[group_E] + sum_G[group_E].log(), place_E / count_G[group_E]
