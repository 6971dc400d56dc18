"""Scores of the instances of a bag: how much each has to do with the bag's prediction.

A network of medtrain's says it by itself. Any other may, by methods of its own, ``instance_attention(bags) -> (N,)``
and ``instance_contributions(bags) -> (N, K)``; of one that says nothing, and where logits are no sum over instances,
the gradient does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed
from medtrain.model import BagNetwork, members_of

Method = Callable[[nn.Module, Packed, Tensor], Tensor]
ATTENTION, CONTRIBUTIONS = "instance_attention", "instance_contributions"
BY_GRADIENT = (
    "{} doesn't say what each instance adds to its logits (a method " + CONTRIBUTIONS + " would): the method gradient "
    "estimates it, what the logit would lose were the instance like the mean of its bag"
)


@torch.no_grad()
def attention(network: nn.Module, bag: Packed, class_1: Tensor) -> Tensor:
    """Give (1, N): the attention of each instance of one bag, summing to 1; of an ensemble the members' mean.

    Args:
        class_1: its number, (1,), by whose attention networks go that have one a class.
    """
    return torch.stack([_attention(member, bag, int(class_1[0])) for member in members_of(network)]).mean(0)[None]


@torch.no_grad()
def contribution(network: nn.Module, bag: Packed, class_1: Tensor) -> Tensor:
    """Give (1, N): what each instance adds to a class's logit, negative what speaks against it; their sum is it.

    With `PositiveEvidence` it is the odds that are added, and nothing speaks against the positive class.

    Args:
        class_1: its number, (1,). A binary problem's negative class has the positive one's, the sign turned.
    """
    parts = [_of_class(_contributions(member, bag), class_1) for member in members_of(network)]
    return torch.stack(parts).mean(0)[None]


@torch.enable_grad()
def gradient(network: nn.Module, bag: Packed, class_1: Tensor) -> Tensor:
    """Give (1, N): what a class's logit would lose were an instance the mean of its bag, estimated to first order.

    That is the inner product of the logit's gradient with what sets the instance apart from the mean.

    Args:
        class_1: see `contribution`.

    Raises:
        UsageError: instances are no features.
    """
    if not bag.x.is_floating_point():
        raise UsageError("explain.method=gradient takes features, not tiles: the network has to say it by itself")
    x_ND = bag.x.detach().float().requires_grad_()
    logits_SK = torch.cat([member(bag._replace(x=x_ND)) for member in members_of(network)])
    (slope_ND,) = torch.autograd.grad(_of_class(logits_SK, class_1).mean(), x_ND)
    return (slope_ND * (x_ND - x_ND.mean(0))).flatten(1).sum(1).detach()[None]


METHODS: dict[str, Method] = {"attention": attention, "contribution": contribution, "gradient": gradient}


def methods(network: nn.Module, wanted: str) -> list[str]:
    """List the names of the methods that a network for bags has; the gradient where nothing is more exact.

    Args:
        wanted: one of them, or all.

    Raises:
        UsageError: it has not what is wanted.
    """
    members = members_of(network)
    adds = all(map(_adds, members))
    there = ["attention"] * all(map(_attends, members)) + ["contribution" if adds else "gradient"]
    if wanted == "all":
        return there
    if wanted not in (*there, "gradient"):
        raise UsageError(
            f"explain.method={wanted}: this network has {' and '.join(dict.fromkeys([*there, 'gradient']))}"
        )
    return [wanted]


def remarks(network: nn.Module) -> list[str]:
    """List what must be told of a network's explanations, once each."""
    members = members_of(network)
    texts = [text for member in members if isinstance(text := getattr(member, "remark", ""), str) and text]
    return list(dict.fromkeys(texts + [BY_GRADIENT.format(type(m).__name__) for m in members if not _adds(m)]))


@torch.no_grad()
def instance_scores(network: nn.Module, bag: Packed, class_1: Tensor, prob: float) -> Tensor:
    """Score (N,) from 0 to 1 how much each instance is what the class means.

    Attention says which instances count, not what they are, and their scores mean nothing where nobody looked; so
    with attention it is the bag's probability times the attention relative to its maximum. Without, an instance is
    scored as a bag of its own. Of other networks it is the bag's probability times what the instance adds to the class,
    or by the gradient would, relative to the maximum.

    Args:
        prob: of the class.
    """
    members = members_of(network)
    if all(map(_attends, members)):
        return prob * _relative(attention(network, bag, class_1)[0])
    if not all(isinstance(member, BagNetwork) and member.additive for member in members):
        return prob * _relative((contribution if all(map(_adds, members)) else gradient)(network, bag, class_1)[0])
    scores = []
    for member in members:
        scores_NK = member.evidence(bag).scores  # type: ignore[operator]
        if scores_NK.shape[1] == 1:
            positive = scores_NK[:, 0].sigmoid()
            scores.append(positive if int(class_1[0]) else 1 - positive)
        else:
            scores.append(scores_NK.softmax(1)[:, int(class_1[0])])
    return torch.stack(scores).mean(0)


def _relative(values_N: Tensor) -> Tensor:
    """Scale to a maximum of 1; what is negative is 0."""
    positive_N = values_N.clamp(min=0)
    return positive_N / positive_N.max().clamp(min=torch.finfo(positive_N.dtype).tiny)


def _of_class(values_NK: Tensor, class_1: Tensor) -> Tensor:
    """Take a class's column of logits or their parts; a single column is the second class's, and less the first's."""
    if values_NK.shape[1] > 1:
        return values_NK[:, int(class_1[0])]
    return values_NK[:, 0] if int(class_1[0]) else -values_NK[:, 0]


def _attends(member: nn.Module) -> bool:
    return member.attends if isinstance(member, BagNetwork) else hasattr(member, ATTENTION)


def _adds(member: nn.Module) -> bool:
    return member.additive if isinstance(member, BagNetwork) else hasattr(member, CONTRIBUTIONS)


def _attention(member: nn.Module, bag: Packed, number: int) -> Tensor:
    """Compute (N,) of a class."""
    if not isinstance(member, BagNetwork):
        return _own(member, ATTENTION, bag, 1)
    weights = member.evidence(bag).weights
    return weights[:, number if weights.shape[1] > 1 else 0]


def _contributions(member: nn.Module, bag: Packed) -> Tensor:
    """Compute (N, K)."""
    return member.evidence(bag).contributions if isinstance(member, BagNetwork) else _own(member, CONTRIBUTIONS, bag, 2)


def _own(member: nn.Module, name: str, bag: Packed, dims: int) -> Tensor:
    """Ask a network that isn't medtrain's, and check what it says.

    Raises:
        UsageError: it has another shape than documented.
    """
    values: Tensor = getattr(member, name)(bag)
    if values.ndim != dims or len(values) != len(bag.x):
        wanted = f"({len(bag.x)}, logits)" if dims > 1 else f"({len(bag.x)},)"
        raise UsageError(
            f"{type(member).__name__}.{name} gives {tuple(values.shape)} for a bag of {len(bag.x)} instances, where "
            f"{wanted} is needed"
        )
    return values
