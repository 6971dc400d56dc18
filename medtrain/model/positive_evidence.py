"""A bag is positive by what is in it, never by what it lacks.

Raff and Holt, Reproducibility in multiple instance learning: a case for algorithmic unit tests, NeurIPS 2023: weights
that sum to 1 let an instance take weight from others, so networks learn that a bag without a certain negative instance
is positive, and fail where that instance turns up beside a lesion. Here odds are added, and no instance can lower them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import segment_logsumexp, segment_softmax
from medtrain.model.bag_network import Attention, BagNetwork, Evidence
from medtrain.target import DataSpec

UNKNOWN = -1.0


class OddsAdded(Evidence):
    """`Evidence` whose scores are log odds that add up; `weights` (N, K) are each instance's share of them."""

    @property
    def contributions(self) -> Tensor:
        """Compute (N, K): the odds that each instance adds to its bag's, never negative."""
        return self.scores.exp()


class PositiveEvidence(BagNetwork):
    """The odds of a bag are the sum of its instances' odds: logits_BK = logsumexp of scores_NK, of each bag.

    For rare positive instances that is the noisy-or of their probabilities. Attention of an instance, here a sigmoid
    that knows nothing of its neighbours, can only take odds from that instance itself.

    Args:
        spec: of data with yes-or-no classes.
        weigh: `Attention`.
        more: see `BagNetwork`.

    Attributes:
        log_size: logarithm of the mean size of the first training batch's bags, which scores start from, so that an
            untrained network says neither yes nor no of usual bags, however large; `UNKNOWN` before training.

    Raises:
        UsageError: one of several classes is always right, so each is right by the lack of the others.
    """

    log_size: Tensor

    def __init__(self, spec: DataSpec, weigh: nn.Module, **more: Any) -> None:
        if spec.n_logits > 1 and spec.target.exclusive:
            raise UsageError(
                f"model.evidence=positive is for classes that are there or not; of these {len(spec.classes)} one is"
                " always right: leave it out, or make each a column of labels"
            )
        super().__init__(spec, weigh, **more)
        self.register_buffer("log_size", torch.tensor(UNKNOWN))

    @property
    def attends(self) -> bool:
        """Tell that no attention is shared out: an instance's weight doesn't depend on its neighbours."""
        return False

    def pooled(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Evidence:
        """Add the odds of instances; those left out in training are made up for by the others."""
        if self.training and bool(self.log_size == UNKNOWN):
            self.log_size = offsets.diff().float().mean().log()
        attention_N1 = nn.functional.logsigmoid(cast(Attention, self.weigh).alone(h_NH))
        scores_NK = scores_NK.float() + attention_N1 - self.log_size.clamp(min=0)
        left = 1 - self.instance_dropout if self.training else 1.0
        logits_BK = segment_logsumexp(scores_NK, offsets) - torch.tensor(left).log()
        return OddsAdded(logits_BK, segment_softmax(scores_NK, offsets), scores_NK, offsets)
