"""Columns of a table beside the image, fused with the features that a network's last layer sees.

The seam is the same for all networks: what enters the last linear layer. No network knows of it; weights keep their
names, and what pools, explains or ties the last layer works on. The fused features have the features' own width, and
are the features themselves before anything is learned.

Film is feature-wise linear modulation (Perez et al., FiLM: visual reasoning with a general conditioning layer, AAAI
2018): h' = (1 + gamma(c)) * h + beta(c). Concat puts features and columns side by side through a hidden layer, whose
output is added to the features: h' = h + W relu(V [h, c]).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medtrain.core.covariates import Covariate, encoded, width
from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_ids
from medtrain.model.bag_network import BagNetwork
from medtrain.model.head import Head
from medtrain.target import DataSpec

How = Literal["concat", "film", "none"]
HIDDEN = 64  # of what the columns pass


class Fusion(nn.Module):
    """Features and columns to features of the same width.

    Args:
        features: their width.
        covariates: of the training split that the network learns from.
        coded_by: whose vocabularies batches are coded by: those of all members of an ensemble.
        how: concat or film.

    Attributes:
        of_head: it is new where a backbone comes pretrained (`core.stages`).
        shown: what the network is about to see.
    """

    of_head = True

    def __init__(self, features: int, covariates: Sequence[Covariate], coded_by: Sequence[Covariate], how: How) -> None:
        super().__init__()
        self.covariates, self.coded_by, self.how = tuple(covariates), tuple(coded_by), how
        self.shown = Shown()
        beside = width(self.covariates)
        self.hidden = nn.Linear(beside + (features if how == "concat" else 0), HIDDEN)
        self.out = nn.Linear(HIDDEN, features if how == "concat" else 2 * features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, h_RH: Tensor, columns_RC: Tensor) -> Tensor:
        """Fuse rows of features with the columns of their cases."""
        c_RW = encoded(self.covariates, columns_RC.to(h_RH.device), self.coded_by).to(h_RH.dtype)
        if self.how == "concat":
            added: Tensor = self.out(self.hidden(torch.cat([h_RH, c_RW], 1)).relu())
            return h_RH + added
        gamma_RH, beta_RH = self.out(self.hidden(c_RW).relu()).chunk(2, 1)
        return (1 + gamma_RH) * h_RH + beta_RH

    def before_last(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Fuse what enters the last layer, a row a case, with what is `shown`."""
        (h_RH,) = inputs
        return (self(h_RH, self.shown.of(h_RH.shape[0])),)

    def of_bags(self, h_NH: Tensor, bags: Packed) -> Tensor:
        """Fuse instances with the columns of their bags, or with what is `shown` where the bags have none."""
        columns_BC = self.shown.of(bags.offsets.shape[0] - 1) if bags.columns is None else bags.columns
        return self(h_NH, columns_BC[segment_ids(bags.offsets, h_NH.shape[0])])


class Shown:
    """What stands beside the inputs that a network is about to see, which takes a single tensor.

    Attributes:
        columns: coded values (B, C), as a batch has them; of a single case for any number of rows.
    """

    columns: Tensor | None = None

    def of(self, rows: int) -> Tensor:
        """Give the columns of so many rows."""
        if self.columns is None:
            raise RuntimeError("a network with columns beside its input has been given none")
        return self.columns.expand(rows, -1) if self.columns.shape[0] == 1 else self.columns


def fuse(network: nn.Module, spec: DataSpec, how: How, coded_by: Sequence[Covariate] | None = None) -> nn.Module:
    """Let a network take the columns of the spec, in place; returns it.

    Networks for bags fuse each instance, so that the evidence still says what each adds.

    Args:
        coded_by: see `Fusion`; by default the columns of the spec.

    Raises:
        UsageError: there are no columns, or the network ends in no linear layer.
    """
    if not spec.covariates:
        if how != "concat":
            raise UsageError(f"model.fusion={how}: there are no columns beside the image; name some in data.covariates")
        return network
    if how == "none":
        return network
    by = spec.covariates if coded_by is None else coded_by
    if isinstance(network, BagNetwork):
        network.beside = Fusion(network.width, spec.covariates, by, how)
        return network
    last: Any = next((m for m in network.modules() if isinstance(m, Head)), None)
    last = last or next((m for m in reversed(list(network.modules())) if _ends(m, spec.n_logits)), None)
    if last is None:
        raise UsageError(
            f"model.fusion={how}: {type(network).__name__} has no last linear layer with {spec.n_logits} outputs, "
            "before which columns could be fused with features; take another model, or model.fusion=none"
        )
    last.beside = Fusion(last.in_features, spec.covariates, by, how)
    last.register_forward_pre_hook(last.beside.before_last)
    return network


def show_columns(network: nn.Module, columns_BC: Tensor | None) -> None:
    """Show a network, or all members of an ensemble, the columns of the cases that it is about to see."""
    for module in network.modules():
        if isinstance(module, Fusion):
            module.shown.columns = columns_BC


def columns_learned(network: nn.Module) -> list[tuple[Covariate, ...]]:
    """List the columns that a network takes, or each member of an ensemble, as it has learned them; empty if none."""
    return [module.covariates for module in network.modules() if isinstance(module, Fusion)]


def _ends(module: nn.Module, n_logits: int) -> bool:
    return isinstance(module, nn.Linear) and module.out_features == n_logits
