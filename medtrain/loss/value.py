"""Losses of quantities, on outputs and truths in standard deviations of the training split."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.ranges import Above, checked
from medtrain.loss.cross_entropy import refuse_others
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec

MOST_SPREAD = 10.0  # of a logarithm of a variance, either way, as the target reads it


def mse(spec: DataSpec) -> nn.Module:
    """Build the mean squared error, called as ``loss(outputs_BV, y_BV)``.

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "mse", "values")
    return Elementwise(F.mse_loss)


def mae(spec: DataSpec) -> nn.Module:
    """Build the mean absolute error, called as ``loss(outputs_BV, y_BV)``.

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "mae", "values")
    return Elementwise(F.l1_loss)


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
    return Elementwise(F.huber_loss, delta=delta)


def gaussian(spec: DataSpec) -> nn.Module:
    """Build the negative log-likelihood of a normal distribution whose variance is an output too.

    Called as ``loss(outputs_B2V, y_BV)``: means, then logarithms of variances (Nix and Weigend, ICNN 1994; Kendall and
    Gal, NeurIPS 2017, eq. 8).

    Raises:
        UsageError: the target is none of quantities.
    """
    refuse_others(spec, "gaussian", "values")
    return Gaussian()


class Elementwise(nn.Module):
    """A function of each error, averaged over what is known.

    Args:
        function: of torch, with ``reduction``.
        more: its further arguments.
    """

    def __init__(self, function: object, **more: float) -> None:
        super().__init__()
        self.function, self.more = function, more

    def forward(self, outputs_BV: Tensor, y_BV: Tensor) -> Tensor:
        """Compute a scalar; `y_BV` is NaN where unknown (all unknown gives 0)."""
        known_BV, outputs_BV = ~torch.isnan(y_BV), full_precision(outputs_BV)
        truth_BV = torch.where(known_BV, y_BV, 0).to(outputs_BV.dtype)
        return masked_mean(self.function(outputs_BV, truth_BV, reduction="none", **self.more), known_BV)  # type: ignore[operator]


class Gaussian(nn.Module):
    """-log N(y; mean, variance), averaged over what is known."""

    def forward(self, outputs_BK: Tensor, y_BV: Tensor) -> Tensor:
        """Compute a scalar in nats; `y_BV` is NaN where unknown (all unknown gives 0)."""
        mean_BV, log_BV = full_precision(outputs_BK).chunk(2, 1)
        log_BV = log_BV.clamp(-MOST_SPREAD, MOST_SPREAD)
        known_BV = ~torch.isnan(y_BV)
        error_BV = torch.where(known_BV, y_BV, 0).to(mean_BV.dtype) - mean_BV
        whole_BV = 0.5 * (log_BV + error_BV**2 * (-log_BV).exp() + float(torch.log(torch.tensor(2 * torch.pi))))
        return masked_mean(whole_BV, known_BV)
