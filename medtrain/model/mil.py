"""Builders of networks for bags (`medtrain.model.bag_network`), by how they pool."""

from __future__ import annotations

from typing import Literal

from medtrain.core.ranges import Count, Part, checked
from medtrain.model.bag_network import Attention, BagNetwork, Mean, TopK, widths
from medtrain.model.positive_evidence import PositiveEvidence
from medtrain.target import DataSpec

EvidenceForm = Literal["any", "positive"]


@checked("model")
def mean_mil(
    spec: DataSpec, hidden: list[Count] | None = None, dropout: Part = 0.0, instance_dropout: Part = 0.0
) -> BagNetwork:
    """Build a network whose logits are the mean of the instances' scores."""
    return BagNetwork(spec, Mean(), hidden=widths(spec, hidden), dropout=dropout, instance_dropout=instance_dropout)


@checked("model")
def max_mil(
    spec: DataSpec, hidden: list[Count] | None = None, dropout: Part = 0.0, instance_dropout: Part = 0.0
) -> BagNetwork:
    """Build a network whose logits are the highest score of each class."""
    return BagNetwork(spec, TopK(1), hidden=widths(spec, hidden), dropout=dropout, instance_dropout=instance_dropout)


@checked("model")
def topk_mil(
    spec: DataSpec, k: Count = 8, hidden: list[Count] | None = None, dropout: Part = 0.0, instance_dropout: Part = 0.0
) -> BagNetwork:
    """Build a network whose logits are the mean of the k highest scores of each class."""
    return BagNetwork(spec, TopK(k), hidden=widths(spec, hidden), dropout=dropout, instance_dropout=instance_dropout)


@checked("model")
def attention_mil(
    spec: DataSpec,
    hidden: list[Count] | None = None,
    attention: Count = 64,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
    gated: bool = False,
    evidence: EvidenceForm = "any",
) -> BagNetwork:
    """Build a network that pools instances by attention.

    Args:
        attention: width of its hidden layer.
        gated: see `Attention`.
        evidence: ``positive``: see `PositiveEvidence`.
    """
    layers = widths(spec, hidden)
    weigh = Attention(layers[-1] if layers else spec.channels, attention, gated)
    network = PositiveEvidence if evidence == "positive" else BagNetwork
    return network(spec, weigh, hidden=layers, dropout=dropout, instance_dropout=instance_dropout)


@checked("model")
def gated_attention_mil(
    spec: DataSpec,
    hidden: list[Count] | None = None,
    attention: Count = 64,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
    evidence: EvidenceForm = "any",
) -> BagNetwork:
    """Build a network that pools instances by gated attention."""
    return attention_mil(spec, hidden, attention, dropout, instance_dropout, gated=True, evidence=evidence)
