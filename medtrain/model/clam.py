"""CLAM: attention that its own highest and lowest instances teach what they are.

Lu et al., Data-efficient and weakly supervised computational pathology on whole-slide images, Nature Biomedical
Engineering 2021, from its equations: gated attention with one branch (SB) or one a class (MB), and of each class a
classifier of instances, for which the most attended instances of a bag stand for the class and the least attended for
its lack. Its loss is the smooth SVM loss of two classes (Berrada et al., Smooth loss functions for deep top-k
classification, ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medtrain.core.ranges import Count, Inside, Part, checked
from medtrain.core.segments import segment_ids, segment_ranks
from medtrain.model.bag_network import Attention, BagNetwork, Evidence, widths
from medtrain.model.family import member
from medtrain.target import DataSpec

MARGIN = 1.0


class Clam(BagNetwork):
    """`BagNetwork` with the instance loss of CLAM.

    Args:
        spec: of the data. Two classes have a classifier each, though one logit says both.
        weigh: `Attention` with one branch, or one a class.
        chosen: instances of a bag at each end of the attention that the instance loss takes, at most half of a bag.
        instance_loss: its share of the whole loss; the bag's has the rest.
        more: see `BagNetwork`.
    """

    def __init__(self, spec: DataSpec, weigh: Attention, *, chosen: int, instance_loss: float, **more: Any) -> None:
        super().__init__(spec, weigh, **more)
        self.chosen, self.share = chosen, instance_loss
        self.two = spec.n_logits == 1
        self.branches = 2 if self.two else spec.n_logits
        self.by_class = weigh.branches > 1
        self.instances = nn.Linear(self.head.in_features, self.branches)
        if self.by_class:
            self.head = nn.Linear(self.head.in_features, self.branches)

    def pooled(self, h_NH: Tensor, scores_NK: Tensor, offsets: Tensor) -> Evidence:
        """Pool as `BagNetwork` does; of two classes with a branch each the logit is the second's less the first's."""
        evidence = super().pooled(h_NH, scores_NK, offsets)._replace(hidden=h_NH)
        if not (self.two and self.by_class):
            return evidence
        weights_N1 = evidence.weights.mean(1, keepdim=True)
        parts_N1 = evidence.contributions.diff(dim=1)
        tiny = torch.finfo(weights_N1.dtype).tiny  # nothing is added where nobody looks
        scores_N1 = parts_N1 / weights_N1.clamp(min=tiny)
        return evidence._replace(logits=evidence.logits.diff(dim=1), weights=weights_N1, scores=scores_N1)

    def losses(self, evidence: Evidence, bag_loss: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Add the instances' loss to the bag's."""
        instances = self.instance_loss(evidence, self.present(y))
        return {"loss": (1 - self.share) * bag_loss, "instances": self.share * instances}

    def present(self, y: Tensor) -> Tensor:
        """Tell (B, C) of each class whether a bag has it: 1, 0, NaN where nobody knows."""
        if not y.is_floating_point():
            return nn.functional.one_hot(y, self.branches).float()
        return torch.cat([1 - y, y], 1) if self.two else y

    def instance_loss(self, evidence: Evidence, present_BC: Tensor) -> Tensor:
        """Average the smooth SVM loss of the chosen instances over bags and classes.

        The most attended stand for a class that the bag has, the least attended for its lack; of a class that it has
        not, the most attended stand for its lack, but of two classes alone, one of which is the usual tissue that
        lies in all bags.
        """
        assert evidence.hidden is not None
        ids_N, lengths_N1 = _of_each(evidence.offsets, len(evidence.hidden))
        attention_NC = self.weigh.alone(evidence.hidden).detach().expand(-1, self.branches)  # type: ignore[operator]
        rank_NC = segment_ranks(attention_NC, evidence.offsets)
        most = rank_NC < (lengths_N1 // 2).clamp(min=1, max=self.chosen)
        least = rank_NC >= lengths_N1 - (lengths_N1 // 2).clamp(max=self.chosen)
        has_NC = present_BC[ids_N] > 0.5
        lacks_NC = (present_BC[ids_N] <= 0.5) & (not self.two)
        scores_NC = self.instances(evidence.hidden).float()
        loss_NC = nn.functional.softplus(MARGIN - torch.where(has_NC & most, scores_NC, -scores_NC))
        counts = ((has_NC & (most | least)) | (lacks_NC & most)).float()
        return (loss_NC * counts).sum() / counts.sum().clamp(min=1)


def _of_each(offsets: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Give of each instance its bag (N,), and that bag's size (N, 1)."""
    ids_N = segment_ids(offsets, n)
    return ids_N, offsets.diff()[ids_N, None]


def _clam(name: str, title: str, by_class: bool) -> Callable[..., Clam]:
    @checked("model")
    def build(
        spec: DataSpec,
        hidden: list[Count] | None = None,
        attention: Count = 256,
        chosen: Count = 8,
        instance_loss: Inside = 0.3,
        dropout: Part = 0.0,
        instance_dropout: Part = 0.0,
    ) -> Clam:
        """Build CLAM with {title}."""
        layers, branches = widths(spec, hidden), max(2, spec.n_logits) if by_class else 1
        weigh = Attention(layers[-1] if layers else spec.channels, attention, gated=True, branches=branches)
        more: dict[str, Any] = {"hidden": layers, "dropout": dropout, "instance_dropout": instance_dropout}
        return Clam(spec, weigh, chosen=chosen, instance_loss=instance_loss, **more)

    return member(build, name, title)


clam_sb = _clam("clam_sb", "a single attention branch for all classes", by_class=False)
clam_mb = _clam("clam_mb", "an attention branch of each class", by_class=True)
