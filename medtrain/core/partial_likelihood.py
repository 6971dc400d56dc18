"""Cox's partial likelihood with Efron's ties, for whoever fits risks to times: networks, and models of a table."""

from __future__ import annotations

import torch
from torch import Tensor


def log_losses(risk_N: Tensor, time_N: Tensor, event_N: Tensor) -> Tensor:
    """Compute the negative log partial likelihood of each event (E,), in nats (Efron, JASA 1977).

    Of d events at one time, with R the sum of exp(risk) of all at risk and D that of the d events, the sum over
    l = 0 ... d - 1 of log(R - l/d D) takes the place of d log R (Breslow's), which ties would bias.

    Args:
        risk_N: log hazard ratios.
        event_N: bool, true for an event, false for a censored case.
    """
    order = torch.argsort(time_N, descending=True, stable=True)
    risk_N, time_N, event_N = risk_N[order], time_N[order], event_N[order]
    _, group_N, size_G = torch.unique_consecutive(time_N, return_inverse=True, return_counts=True)
    last_G = size_G.cumsum(0) - 1
    at_risk_E = torch.logcumsumexp(risk_N, 0)[last_G][group_N[event_N]]
    own_E, group_E = risk_N[event_N], group_N[event_N]
    tied_E, share_E = _tied(own_E, group_E, len(size_G))
    log_left_E = at_risk_E + torch.log1p(-share_E * (tied_E - at_risk_E).clamp(max=0).exp())
    return log_left_E - own_E


def _tied(risk_E: Tensor, group_E: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Compute the log of the summed exp(risk) of the events at each event's time, and l/d of each of them."""
    count_G = torch.bincount(group_E, minlength=groups)
    first_G = count_G.cumsum(0) - count_G  # events are sorted by group
    place_E = torch.arange(len(group_E), device=group_E.device) - first_G[group_E]
    most_G = risk_E.new_full((groups,), -torch.inf).scatter_reduce(0, group_E, risk_E.detach(), "amax")
    sum_G = risk_E.new_zeros(groups).index_add(0, group_E, (risk_E - most_G[group_E]).exp())
    return most_G[group_E] + sum_G[group_E].log(), place_E / count_G[group_E]
