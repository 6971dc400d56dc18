"""Losses of quantities: outputs are in standard deviations of the training split, truths in the user's unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.ranges import Above, checked
from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec
from medtrain.target.value import MOST_SPREAD


def mse(spec: DataSpec) -> nn.Module:
    """Build the mean squared error, called as ``loss(outputs_BV, y_BV)``.

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "mse", "values")
    return Elementwise(spec, F.mse_loss)


def mae(spec: DataSpec) -> nn.Module:
    """Build the mean absolute error, called as ``loss(outputs_BV, y_BV)``.

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "mae", "values")
    return Elementwise(spec, F.l1_loss)


@checked("loss")
def huber(spec: DataSpec, delta: Annotated[float, Above(0)] = 1.0) -> nn.Module:
    """Build Huber's loss: squares of errors up to `delta`, straight beyond (Annals of Mathematical Statistics 1964).

    Args:
        spec: of the data.
        delta: in standard deviations of the training split.

    Raises:
        UsageError: the target is none of quantities, or delta no positive number.
    """
    refuse_others(spec, "huber", "values")
    return Elementwise(spec, F.huber_loss, delta=delta)


def gaussian(spec: DataSpec) -> nn.Module:
    """Build the negative log-likelihood of a normal distribution whose variance is an output too.

    Called as ``loss(outputs_B2V, y_BV)``: means, then logarithms of variances (Nix and Weigend, ICNN 1994; Kendall and
    Gal, NeurIPS 2017, eq. 8).

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "gaussian", "values")
    return Gaussian(spec)


class Standardised(nn.Module):
    """What all of them share: truths by the mean and standard deviation that the spec's target has learned."""

    shift_V: Tensor
    scale_V: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        v = len(spec.classes)
        for name, values, usual in (("shift_V", "value_mean", 0.0), ("scale_V", "value_sd", 1.0)):
            learned = getattr(spec.target, values) or (usual,) * v
            self.register_buffer(name, torch.tensor(learned, dtype=torch.float32), persistent=False)

    def standard(self, y_BV: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Give truths in standard units, 0 where unknown, and where they are known."""
        known_BV = ~torch.isnan(y_BV)
        truth_BV = (y_BV - self.shift_V.to(y_BV.device)) / self.scale_V.to(y_BV.device)
        return torch.where(known_BV, truth_BV, 0).to(like.dtype), known_BV


class Elementwise(Standardised):
    """A function of each error, averaged over what is known.

    Args:
        function: of torch, with ``reduction``.
        more: its further arguments.
    """

    def __init__(self, spec: DataSpec, function: Callable[..., Tensor], **more: float) -> None:
        super().__init__(spec)
        self.function, self.more = function, more

    def forward(self, outputs_BV: Tensor, y_BV: Tensor) -> Tensor:
        """Compute a scalar; `y_BV` is NaN where unknown (all unknown gives 0)."""
        outputs_BV = full_precision(outputs_BV)
        truth_BV, known_BV = self.standard(y_BV, outputs_BV)
        return masked_mean(self.function(outputs_BV, truth_BV, reduction="none", **self.more), known_BV)


class Gaussian(Standardised):
    """-log N(y; mean, variance), averaged over what is known."""

    def forward(self, outputs_BK: Tensor, y_BV: Tensor) -> Tensor:
        """Compute a scalar in nats of standard units; `y_BV` is NaN where unknown (all unknown gives 0)."""
        mean_BV, log_BV = full_precision(outputs_BK).chunk(2, 1)
        truth_BV, known_BV = self.standard(y_BV, mean_BV)
        log_BV = log_BV.clamp(-MOST_SPREAD, MOST_SPREAD)
        whole_BV = 0.5 * (log_BV + (truth_BV - mean_BV) ** 2 * (-log_BV).exp() + math.log(2 * math.pi))
        return masked_mean(whole_BV, known_BV)
