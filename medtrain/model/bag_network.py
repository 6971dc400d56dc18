"""Networks for bags: multiple-instance learning on packed instances (`core.segments`).

All of them score each instance and weigh the scores: logits_BK = sum over a bag's instances of weight * score. Mean,
max, top-k and attention differ in the weights alone. The last layer is linear and weights sum to 1, so weighing scores
is the same as weighing features (equation 7 of Ilse et al., Attention-based deep multiple instance learning, ICML
2018), and ``weight * score`` is exactly what an instance contributes to the bag's logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import (
    Packed,
    segment_ids,
    segment_max,
    segment_offsets,
    segment_ranks,
    segment_softmax,
    segment_sum,
)
from medtrain.model.ensemble import members_of
from medtrain.target import DataSpec


class Evidence(NamedTuple):
    """Logits of bags, and the instances that they rest on.

    Args:
        logits: (B, K).
        weights: (N, 1) or (N, K), summing to 1 within each bag.
        scores: (N, K) instance logits; ``weights * scores`` sums to `logits`.
        offsets: (B+1,) of these instances, of which training may have dropped some.
        hidden: (N, H) features of the instances, of networks whose `losses` take them.
    """

    logits: Tensor
    weights: Tensor
    scores: Tensor
    offsets: Tensor
    hidden: Tensor | None = None

    @property
    def contributions(self) -> Tensor:
        """Compute (N, K): what each instance adds to the bag's logits."""
        return self.weights * self.scores


class BagNetwork(nn.Module):
    """Instances -> hidden features -> scores, weighed to the bag's logits.

    Args:
        spec: of the data; where it has `mean` and `std`, features are standardised with them, and the weights hold
            them, so that each member of an ensemble keeps its own.
        weigh: ``weigh(h_NH, scores_NK, offsets) -> (N, 1) or (N, K)``.
        hidden: widths of the layers between features and scores.
        width: of the features; by default the data's channels.
        dropout: after each of these layers.
        instance_dropout: share of a bag's instances left out in training; one always stays.

    Attributes:
        attends: whether the weights are learned attention.
        additive: whether ``weights * scores`` say exactly what each instance adds to the logits.
        turns_at: bags of up to so many instances are computed in another way than larger ones; 0 where all are alike.
        width: of the hidden features.
        beside: fuses them with columns beside the bags (`medtrain.model.fusion`); None where there are none.
        remark: what people must know of its predictions, told where it is trained and explained; '' for nothing.
    """

    additive = True
    turns_at = 0
    remark = ""
    beside: Any
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        spec: DataSpec,
        weigh: nn.Module,
        *,
        hidden: Sequence[int],
        width: int | None = None,
        dropout: float = 0.0,
        instance_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if spec.dims and width is None:
            raise UsageError("data.tiles=true gives tiles, not features: model=end_to_end_mil takes them")
        shape = (spec.channels, *[1] * spec.dims)
        self.register_buffer("mean", torch.tensor(spec.mean or (0.0,) * spec.channels).float().view(shape))
        self.register_buffer("std", torch.tensor(spec.std or (1.0,) * spec.channels).float().view(shape))
        widths = [width or spec.channels, *hidden]
        layers = [
            (nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
            for before, after in zip(widths, hidden, strict=False)
        ]
        self.embed = nn.Sequential(*[part for layer in layers for part in layer])
        self.width, self.beside = widths[-1], None
        self.head = nn.Linear(widths[-1], spec.n_logits)
        self.weigh, self.instance_dropout = weigh, instance_dropout

    @property
    def attends(self) -> bool:
        """Tell whether attention is learned."""
        return isinstance(self.weigh, Attention)

    def forward(self, bags: Packed) -> Tensor:
        """Compute logits (B, K)."""
        return self.evidence(bags).logits

    def evidence(self, bags: Packed) -> Evidence:
        """Compute logits, and how much each instance has to do with them."""
        if self.training and self.instance_dropout:
            bags = drop_instances(bags, self.instance_dropout)
        h_NH = self.in_context(self.hidden(bags), bags)
        return self.pooled(h_NH, self.head(h_NH), bags.offsets)

    def hidden(self, bags: Packed) -> Tensor:
        """Compute the hidden features of each instance (N, H), fused with what stands beside its bag."""
        h_NH: Tensor = self.embed(self.features(bags.x))
        return h_NH if self.beside is None else self.beside.of_bags(h_NH, bags)

    def in_context(self, h_NH: Tensor, bags: Packed) -> Tensor:
        """Let instances see others of their bag before they are scored; here none does."""
        return h_NH

    def pooled(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Evidence:
        """Pool the scores of instances to the logits of their bags."""
        weights = self.weigh(h_NH, scores_NK, offsets)
        return Evidence(segment_sum(weights * scores_NK, offsets), weights, scores_NK, offsets)

    def losses(self, evidence: Evidence, bag_loss: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Name the parts of the training loss: the bags' alone, where a network adds no others.

        Args:
            bag_loss: of `evidence.logits`.
            y: as the loss takes it, (B,) numbers of classes or (B, K) of 0, 1 and NaN.
        """
        return {"loss": bag_loss}

    def features(self, x: Tensor) -> Tensor:
        """Normalise instances as the data have them: (N, D), in the precision of the network."""
        wide = x.to(self.mean.dtype)
        return ((wide if x.is_floating_point() else wide / torch.iinfo(x.dtype).max) - self.mean).div_(self.std)


class Mean(nn.Module):
    """Equal weights for all instances."""

    def forward(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Tensor:
        lengths_B = offsets.diff()
        return (1 / lengths_B)[segment_ids(offsets, h_NH.shape[0]), None].to(scores_NK.dtype)


class TopK(nn.Module):
    """Equal weights for the k highest scores of each class, none for all others; k = 1 is max pooling.

    Args:
        k: of bags with fewer instances, all of them.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Tensor:
        k_N1 = offsets.diff().clamp(max=self.k)[segment_ids(offsets, h_NH.shape[0]), None]
        return (segment_ranks(scores_NK.detach(), offsets) < k_N1).to(scores_NK.dtype) / k_N1


class Attention(nn.Module):
    """Learned weights: equation 8 of Ilse et al. 2018, with `gated` equation 9.

    Args:
        width: of the instances' hidden features.
        hidden: of the attention.
        gated: multiply by a learned gate.
        branches: attentions side by side, (N, branches).

    Attributes:
        of_head: see `core.stages`.
    """

    of_head = True

    def __init__(self, width: int, hidden: int, gated: bool, branches: int = 1) -> None:
        super().__init__()
        self.branches = branches
        self.tanh = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden) if gated else None
        self.score = nn.Linear(hidden, branches, bias=False)  # the softmax takes no notice of a bias

    def forward(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Tensor:
        return segment_softmax(self.alone(h_NH), offsets)

    def alone(self, h_NH: Tensor) -> Tensor:
        """Compute (N, branches): the attention of each instance before the softmax, whatever lies beside it."""
        hidden = self.tanh(h_NH).tanh()
        if self.gate is not None:
            hidden = hidden * self.gate(h_NH).sigmoid()
        alone_NC: Tensor = self.score(hidden).float()  # half precision has too few steps for 20,000
        return alone_NC


def drop_instances(bags: Packed, share: float) -> Packed:
    """Leave out each instance with this probability, but for one of each bag."""
    x_ND, offsets, coords_N2 = bags.x, bags.offsets, bags.coords
    luck_N = torch.rand(x_ND.shape[0], device=x_ND.device)
    stays_N = (luck_N >= share) | (luck_N == segment_max(luck_N, offsets)[segment_ids(offsets, len(luck_N))])
    coords = None if coords_N2 is None else coords_N2[stays_N]
    return Packed(x_ND[stays_N], segment_offsets(segment_sum(stays_N.long(), offsets)), coords, bags.columns)


def relevance(network: nn.Module, bags: Packed) -> Tensor | None:
    """Compute (N,): how much each instance has to do with the prediction, of an ensemble the members' mean.

    Attention where it is learned, else the score of the positive class; None where there is no such single number.
    """
    by_member = []
    for member in members_of(network):
        if not isinstance(member, BagNetwork):
            return None
        evidence = member.evidence(bags)
        if not member.attends and evidence.scores.shape[1] > 1:
            return None
        by_member.append(evidence.weights.mean(1) if member.attends else evidence.scores[:, 0])
    return torch.stack(by_member).mean(0)


SLIDE_FEATURES = 384
"""Encoders of tiles give this many features and more; tables of descriptors, such as MUSK's, have fewer."""


def widths(spec: DataSpec, hidden: Sequence[int] | None) -> list[int]:
    """Choose the layers asked for, or usual ones: of Ilse et al. for MUSK, or one of 512 for features of tiles."""
    if hidden is not None:
        return list(hidden)
    return [512] if spec.channels >= SLIDE_FEATURES else [256, 128, 64]
