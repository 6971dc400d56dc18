"""Scores of the instances of a bag: how much each has to do with the bag's prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.model import BagNetwork, members_of

Method = Callable[[nn.Module, Packed, Tensor], Tensor]


@torch.no_grad()
def attention(network: nn.Module, bag: Packed, class_1: Tensor) -> Tensor:
    """Give (1, N): the attention of each instance of one bag, summing to 1; of an ensemble the members' mean.

    Args:
        class_1: its number, (1,), by whose attention networks go that have one a class.
    """
    weights = [member.evidence(bag).weights for member in _members(network)]
    return torch.stack([w[:, int(class_1[0]) if w.shape[1] > 1 else 0] for w in weights]).mean(0)[None]


@torch.no_grad()
def contribution(network: nn.Module, bag: Packed, class_1: Tensor) -> Tensor:
    """Give (1, N): what each instance adds to a class's logit, negative what speaks against it; their sum is it.

    With `PositiveEvidence` it is the odds that are added, and nothing speaks against the positive class.

    Args:
        class_1: its number, (1,). A binary problem's negative class has the positive one's, the sign turned.
    """
    contributions = []
    for member in _members(network):
        parts_NK = member.evidence(bag).contributions
        binary = parts_NK.shape[1] == 1
        sign = -1.0 if binary and int(class_1[0]) == 0 else 1.0
        contributions.append(sign * parts_NK[:, 0 if binary else int(class_1[0])])
    return torch.stack(contributions).mean(0)[None]


METHODS: dict[str, Method] = {"attention": attention, "contribution": contribution}


def methods(network: nn.Module, wanted: str) -> list[str]:
    """List the names of the methods that a network for bags has.

    Args:
        wanted: one of them, or all.

    Raises:
        UsageError: it has not what is wanted.
    """
    attends = all(member.attends for member in _members(network))
    there = [name for name in METHODS if name != "attention" or attends]
    if wanted == "all":
        return there
    if wanted not in there:
        raise UsageError(f"explain.method={wanted}: this network has {' and '.join(there)}")
    return [wanted]


@torch.no_grad()
def instance_scores(network: nn.Module, bag: Packed, class_1: Tensor, prob: float) -> Tensor:
    """Score (N,) from 0 to 1 how much each instance is what the class means.

    Attention says which instances count, not what they are, and their scores mean nothing where nobody looked; so
    with attention it is the bag's probability times the attention relative to its maximum. Without, an instance is
    scored as a bag of its own.

    Args:
        prob: of the class.
    """
    members = _members(network)
    if all(member.attends for member in members):
        weights_N = attention(network, bag, class_1)[0]
        return prob * weights_N / weights_N.max()
    scores = []
    for member in members:
        scores_NK = member.evidence(bag).scores
        if scores_NK.shape[1] == 1:
            positive = scores_NK[:, 0].sigmoid()
            scores.append(positive if int(class_1[0]) else 1 - positive)
        else:
            scores.append(scores_NK.softmax(1)[:, int(class_1[0])])
    return torch.stack(scores).mean(0)


def _members(network: nn.Module) -> list[BagNetwork]:
    members = members_of(network)
    if not all(isinstance(member, BagNetwork) for member in members):
        raise UsageError(f"explain: {type(members[0]).__name__} is no network of medtrain's for bags")
    return members  # type: ignore[return-value]
