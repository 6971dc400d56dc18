"""DSMIL: the highest instance of each class asks the others how alike they are.

Li et al., Dual-stream multiple instance learning network for whole slide image classification with self-supervised
contrastive learning, CVPR 2021, from its equations. One stream takes the highest instance score of a class; the other
weighs instances by the softmax of the inner products of their queries with that instance's, here divided by the root of
their width, as dot-product attention has it. The bag's logits are the mean of both. Where the paper joins the classes'
features by a convolution over all of them, each class has its own linear head here, so that what an instance adds to a
logit is exact.
"""

from __future__ import annotations

from torch import Tensor, nn

from medtrain.core.ranges import Count, Part, checked
from medtrain.core.segments import segment_ids, segment_ranks, segment_softmax, segment_sum
from medtrain.model.bag_network import BagNetwork, Evidence, widths
from medtrain.target import DataSpec


class CriticalAttention(nn.Module):
    """Weights (N, K) by likeness to the critical instance of each class, that of the highest score.

    Args:
        width: of the instances' hidden features.
        queries: width of the queries.

    Attributes:
        of_head: see `core.stages`.
    """

    of_head = True

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.Linear(width, queries), nn.Tanh())

    def forward(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Tensor:
        q_NQ = self.query(h_NH)
        critical_BKQ = segment_sum(critical(scores_NK, offsets)[:, :, None] * q_NQ[:, None], offsets)
        alike_NK = (critical_BKQ[segment_ids(offsets, h_NH.shape[0])] * q_NQ[:, None]).sum(2)
        return segment_softmax(alike_NK.float() / q_NQ.shape[1] ** 0.5, offsets)


def critical(scores_NK: Tensor, offsets: Tensor) -> Tensor:
    """Mark (N, K) with 1 the highest instance of each bag and class, the first of equal ones."""
    return (segment_ranks(scores_NK.detach(), offsets) == 0).to(scores_NK.dtype)


class DualStream(BagNetwork):
    """`BagNetwork` whose head scores instances for the first stream, and a second head their values for the other.

    Attributes:
        values: (N, H) -> (N, K), what the second stream weighs.
    """

    def __init__(self, spec: DataSpec, weigh: CriticalAttention, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(spec, weigh, **more)
        self.values = nn.Linear(self.head.in_features, spec.n_logits)

    @property
    def attends(self) -> bool:
        """Tell that attention is learned."""
        return True

    def pooled(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Evidence:
        """Compute the mean of both streams; `weights` are the mean of theirs, of which each sums to 1."""
        attention_NK = self.weigh(h_NH, scores_NK, offsets)
        highest_NK = critical(scores_NK, offsets)
        parts_NK = (highest_NK * scores_NK + attention_NK * self.values(h_NH)) / 2
        weights_NK = (highest_NK + attention_NK) / 2
        scores = parts_NK / weights_NK.clamp(min=TINY)
        return Evidence(segment_sum(parts_NK, offsets), weights_NK, scores, offsets)


TINY = 1e-30


@checked("model")
def dsmil(
    spec: DataSpec,
    hidden: list[Count] | None = None,
    queries: Count = 128,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
) -> DualStream:
    """Build DSMIL on features.

    Args:
        queries: width of the instances' queries.
    """
    layers = widths(spec, hidden)
    weigh = CriticalAttention(layers[-1] if layers else spec.channels, queries)
    return DualStream(spec, weigh, hidden=layers, dropout=dropout, instance_dropout=instance_dropout)
