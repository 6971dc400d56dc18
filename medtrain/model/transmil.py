"""TransMIL: instances that see each other, in the order of their file.

Shao et al., TransMIL: transformer based correlated multiple instance learning for whole slide image classification,
NeurIPS 2021, from its equations: two layers of Nystrom attention (Xiong et al., Nystromformer, AAAI 2021) with a class
token, and between them a pyramid of depthwise convolutions (PPEG) over the instances laid out in a square. They are
laid out in their order, so predictions depend on it. Where the papers fill up with zeros, which take attention,
landmarks here are means of runs of equal length but for one; where tokens are no more than landmarks, each is one, and
the attention exact.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Count, Part, checked
from medtrain.core.segments import Packed, one_bag, segment_ids
from medtrain.model.bag_network import BagNetwork, Evidence, drop_instances, widths
from medtrain.target import DataSpec

KERNELS = (7, 5, 3)
"""Sides of the pyramid's convolutions."""
ALONG = 33
"""Tokens in a row that the convolution of the values sees."""
INVERSIONS = 6
"""Steps to the pseudoinverse."""


class NystromAttention(nn.Module):
    """Add to T tokens softmax(Q K~) pinv(softmax(Q~ K~)) softmax(Q~ K) V of M landmarks, and their values convolved.

    Args:
        width: of the tokens.
        heads: side by side.
        landmarks: at most so many.
    """

    def __init__(self, width: int, heads: int, landmarks: int) -> None:
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.along = nn.Conv2d(heads, heads, (ALONG, 1), padding=(ALONG // 2, 0), groups=heads, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x_TC: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the tokens of one bag (T, C), and what the first of them attends to, (T,)."""
        q_HTD, k_HTD, v_HTD = self.qkv(self.norm(x_TC)).unflatten(1, (3, self.heads, -1)).permute(1, 2, 0, 3)
        with torch.autocast(x_TC.device.type, enabled=False):  # half precision inverts nothing
            to_HTM, back_HMT = self._kernels(q_HTD.float(), k_HTD.float())
            y_HTD = to_HTM @ (back_HMT @ v_HTD.float())
        y_HTD = y_HTD.to(v_HTD.dtype) + self.along(v_HTD[None])[0]
        first_T = (to_HTM[:, :1] @ back_HMT)[:, 0].mean(0)
        return x_TC + self.out(y_HTD.transpose(0, 1).flatten(1)), first_T

    def _kernels(self, q_HTD: Tensor, k_HTD: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (H, T, M) and (H, M, T), whose product is the attention."""
        q_HTD = q_HTD / q_HTD.shape[2] ** 0.5
        if q_HTD.shape[1] <= self.landmarks:
            attention_HTT = (q_HTD @ k_HTD.mT).softmax(2)
            return torch.eye(q_HTD.shape[1], device=q_HTD.device).expand_as(attention_HTT), attention_HTT
        q_HMD, k_HMD = (_landmarks(x_HTD, self.landmarks) for x_HTD in (q_HTD, k_HTD))
        middle_HMM = pseudoinverse((q_HMD @ k_HMD.mT).softmax(2))
        return (q_HTD @ k_HMD.mT).softmax(2) @ middle_HMM, (q_HMD @ k_HTD.mT).softmax(2)


def _landmarks(x_HTD: Tensor, number: int) -> Tensor:
    """Average T tokens in so many runs, of equal length but for one."""
    tokens = x_HTD.shape[1]
    run_T = torch.arange(tokens, device=x_HTD.device) * number // tokens
    sums = x_HTD.new_zeros(x_HTD.shape[0], number, x_HTD.shape[2]).index_add(1, run_T, x_HTD)
    return sums / torch.bincount(run_T, minlength=number)[:, None]


def pseudoinverse(a_HMM: Tensor) -> Tensor:
    """Approximate the Moore-Penrose inverse of each (M, M): equation 11 of Xiong et al. 2021."""
    norms_H = a_HMM.abs().sum(1).amax(1) * a_HMM.abs().sum(2).amax(1)
    z_HMM, one_MM = a_HMM.mT / norms_H[:, None, None], torch.eye(a_HMM.shape[1]).to(a_HMM)
    for _ in range(INVERSIONS):
        az_HMM = a_HMM @ z_HMM
        z_HMM = z_HMM @ (13 * one_MM - az_HMM @ (15 * one_MM - az_HMM @ (7 * one_MM - az_HMM))) / 4
    return z_HMM


def side_of(n: int) -> int:
    """Compute the side of the smallest square that holds n instances."""
    if one_bag():
        root: Any = torch.sym_float(n) ** 0.5
        return cast(int, torch.sym_int(math.ceil(root)))
    return math.isqrt(n - 1) + 1


class PositionPyramid(nn.Module):
    """Add to tokens in a square what depthwise convolutions of three sizes see around each (PPEG)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, k, padding=k // 2, groups=width) for k in KERNELS)

    def forward(self, x_SC: Tensor, side: int) -> Tensor:
        """Compute (S, C) of S tokens, the square of its side."""
        x_CWW = x_SC.mT.unflatten(1, (side, side))
        y_CWW = x_CWW + sum(conv(x_CWW[None])[0] for conv in self.convs)
        return y_CWW.flatten(1).mT


class TransMil(BagNetwork):
    """`BagNetwork` whose logits come of a class token that has seen all instances.

    Args:
        spec: of the data.
        hidden: widths of the layers before the tokens.
        heads: of attention, a divisor of the last of these widths.
        landmarks: of the attention; None for half a token's width, as the paper has it.
        more: see `BagNetwork`.
    """

    additive = False
    remark = (
        "model=transmil depends on the order of a bag's instances, which it lays out in a square (the other networks "
        "don't): features of the same tiles in another order get other predictions"
    )

    def __init__(
        self, spec: DataSpec, *, hidden: list[int], heads: int, landmarks: int | None, dropout: float, **more: float
    ) -> None:
        super().__init__(spec, nn.Identity(), hidden=hidden, dropout=dropout, **more)  # type: ignore[arg-type]
        width = self.head.in_features
        if width % heads:
            raise UsageError(f"model.heads={heads} doesn't divide the tokens' width, {width}")
        del self.head  # it comes last: the parts stand in the order in which they are used (`core.stages`)
        self.first = nn.Parameter(torch.randn(width) * 0.02)
        marks = landmarks or max(1, width // 2)
        self.turns_at = math.isqrt(marks - 1) ** 2  # as many tokens as landmarks, with the class token: exact attention
        self.before = NystromAttention(width, heads, marks)
        self.pyramid = PositionPyramid(width)
        self.after = NystromAttention(width, heads, marks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, spec.n_logits)

    @property
    def attends(self) -> bool:
        """Tell that attention is learned."""
        return True

    def evidence(self, bags: Packed) -> Evidence:
        """Compute logits; `weights` are what the class token of the last layer attends to, summing to 1."""
        if self.training and self.instance_dropout:
            bags = drop_instances(bags, self.instance_dropout)
        h_NC = self.hidden(bags)
        bags_nC = [h_NC] if one_bag() else h_NC.split(bags.offsets.diff().tolist())
        parts = [self._seen(h_nC) for h_nC in bags_nC]
        logits_BK = self.head(self.norm(torch.stack([token_C for token_C, _ in parts])))
        weights_N1 = torch.cat([weights_n for _, weights_n in parts])[:, None]
        return Evidence(logits_BK, weights_N1, logits_BK[segment_ids(bags.offsets, h_NC.shape[0])], bags.offsets)

    def _seen(self, h_nC: Tensor) -> tuple[Tensor, Tensor]:
        """Let the instances of one bag see each other: the class token (C,), and the weight of each instance."""
        n = h_nC.shape[0]
        side = side_of(n)
        again = side * side - n  # the first ones again, until the square is full
        x_TC, _ = self.before(torch.cat([self.first[None].to(h_nC.dtype), h_nC, h_nC[:again]]))
        x_TC, first_T = self.after(torch.cat([x_TC[:1], self.pyramid(x_TC[1:], side)]))
        weights_S = first_T[1:].clamp(min=0)
        weights_n = weights_S[:n] + torch.cat([weights_S[n:], weights_S.new_zeros(n - again)])
        weights_n = weights_n + torch.finfo(weights_n.dtype).tiny
        return x_TC[0], weights_n / weights_n.sum()


@checked("model")
def transmil(
    spec: DataSpec,
    hidden: list[Count] | None = None,
    heads: Count = 8,
    landmarks: Count | None = None,
    dropout: Part = 0.0,
    instance_dropout: Part = 0.0,
) -> TransMil:
    """Build TransMIL, which depends on the order of instances.

    Args:
        heads: of attention.
        landmarks: of the attention; None: half the width of a token.
    """
    layers = widths(spec, hidden)
    if not layers:
        raise UsageError("model.hidden=[]: model=transmil needs at least one layer, whose width the tokens have")
    more = {"dropout": dropout, "instance_dropout": instance_dropout}
    return TransMil(spec, hidden=layers, heads=heads, landmarks=landmarks, **more)
