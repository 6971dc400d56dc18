"""Discrete-time hazards: the chance of the event in each interval of time, of cases that came so far without it.

Unlike Cox's likelihood it asks for no proportional hazards, gives probabilities without a baseline, and a batch of any
size is exact (Gensheimer & Narasimhan, PeerJ 2019; Singer & Willett, J. Educ. Stat. 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec


def hazards(spec: DataSpec) -> nn.Module:
    """Build the likelihood of discrete hazards over the intervals of the data, called as ``loss(logits_BK, y_B2)``.

    Raises:
        UsageError: what is predicted is no time to an event.
    """
    refuse_others(spec, "hazards", "times")
    target: Any = spec.target
    return HazardLikelihood(target.cuts or range(1, spec.n_logits + 1))  # before any data are read: any intervals


class HazardLikelihood(nn.Module):
    """Negative log likelihood of discrete hazards, a mean over cases.

    A case with an event in an interval has come through all intervals before; a censored case through those whose
    middle it was followed beyond. Who is followed beyond the last interval has come through all of them.

    Args:
        cuts: the ends of the K intervals, ascending, above 0; an interval holds its end.
    """

    cuts_K: Tensor
    middle_K: Tensor

    def __init__(self, cuts: Sequence[float]) -> None:
        super().__init__()
        ends = torch.tensor(cuts, dtype=torch.float32)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        self.register_buffer("cuts_K", ends, persistent=False)
        self.register_buffer("middle_K", (starts + ends) / 2, persistent=False)

    def forward(self, logits_BK: Tensor, y_B2: Tensor) -> Tensor:
        """Compute a scalar in nats a case.

        Args:
            logits_BK: log-odds of the hazard in each interval.
            y_B2: time, and 1 for an event, 0 for a censored case; NaN: left out.
        """
        known_B, logits_BK = ~torch.isnan(y_B2).any(1), full_precision(logits_BK)
        y_B2 = torch.where(known_B[:, None], y_B2, 0)
        time_B1, event_B1 = y_B2[:, :1].contiguous(), y_B2[:, 1:] > 0.5
        interval_B1 = torch.searchsorted(self.cuts_K, time_B1)  # K beyond the last
        number_K = torch.arange(logits_BK.shape[1], device=logits_BK.device)
        through_BK = torch.where(event_B1, number_K < interval_B1, time_B1 >= self.middle_K)
        here_BK = event_B1 & (number_K == interval_B1)
        loss_B = torch.where(through_BK, F.softplus(logits_BK), 0).sum(1)
        loss_B = loss_B + torch.where(here_BK, F.softplus(-logits_BK), 0).sum(1)
        return masked_mean(loss_B, known_B)
