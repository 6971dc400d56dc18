"""Classification of cases: one image, or many instances of a case pooled into one prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.pool import pool_cases
from medtrain.metric import auroc, probabilities
from medtrain.task.base import Batch, Task


class Classification(Task):
    """A classifier of batches ``{"x", "y", "case"}``; several rows may belong to one case.

    Args:
        loss: ``loss(logits_BK, y) -> scalar``.
        augment: ``augment(x_BCHW, ids_B, seed, epoch) -> x_BCHW`` on inputs in 0..1; only in training.
        pool: how the instances of a case make its prediction: mean, max or noisy_or.
    """

    def __init__(self, *args: Any, loss: nn.Module, augment: nn.Module | None = None, pool: str = "mean", **more: Any):
        super().__init__(*args, **more)
        self.loss, self.augment, self.pool = loss, augment, pool
        shape = (1, -1, *[1] * self.spec.dims)
        self.register_buffer("mean", torch.tensor(self.spec.mean or (0.0,)).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std or (1.0,)).view(shape), persistent=False)

    def inputs(self, batch: Batch) -> Tensor:
        """The network's input: scaled to 0..1, augmented in training, normalised."""
        x = batch["x"]
        if not x.is_floating_point():
            x = x.float() / torch.iinfo(x.dtype).max
        if self.training and self.augment is not None:
            x = self.augment(x, batch["case"], seed=self.seed, epoch=self.current_epoch)
        return (x - self.mean) / self.std

    def forward(self, batch: Batch) -> Tensor:
        """Logits, one row an instance, `spec.n_logits` columns."""
        logits: Tensor = self.model(self.inputs(batch))
        return logits

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.loss(self(batch), batch["y"])}

    def outputs(self, batch: Batch) -> dict[str, Any]:
        kept = {"case": batch["case"], "logits": self(batch).float()}
        return kept | ({"y": batch["y"]} if "y" in batch else {})

    def batch_size(self, batch: Batch) -> int:
        return len(batch["case"])

    def cases(self, outputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """One row a case, in the order of case numbers: ``case``, ``logits``, and ``y`` where it is known.

        Repeated rows (the padding of the last batch) are dropped. Batches with an ``instance`` number hold several
        instances a case: these are pooled as probabilities and turned back into logits, which a temperature fits.
        """
        joined = {key: torch.cat([batch[key] for batch in outputs]) for key in outputs[0]}
        keys = torch.stack([joined["case"], joined["instance"]], 1) if "instance" in joined else joined["case"][:, None]
        joined = {key: value[_first_rows(keys)] for key, value in joined.items()}
        if "instance" not in joined:
            return joined
        logits = joined["logits"]
        multiclass = self.spec.label_kind == "multiclass"
        pooled, number = pool_cases(logits.softmax(1) if multiclass else logits.sigmoid(), joined["case"], self.pool)
        clipped = pooled.clamp(1e-7, 1 - 1e-7)
        cases = {"case": number, "logits": clipped.log() if multiclass else torch.logit(clipped)}
        return cases | ({"y": joined["y"][_first_rows(joined["case"][:, None])]} if "y" in joined else {})

    def judge(self, outputs: list[dict[str, Any]]) -> dict[str, float]:
        cases = self.cases(outputs)
        probs = probabilities(cases["logits"].numpy(), self.spec.label_kind, temperature=1.0)
        target = as_target(cases["y"], self.spec.label_kind)
        with torch.no_grad():
            loss = self.loss(cases["logits"], cases["y"])
        return {"loss": float(loss), "auroc": auroc(probs, target)}


def as_target(y: Tensor, kind: str) -> np.ndarray:
    """Targets in the coding of the metric room: binary [N] of 0, 1, NaN; multiclass int [N]; multilabel [N, C]."""
    array: np.ndarray = y.numpy()
    return array[:, 0] if kind == "binary" else array


def _first_rows(keys_NK: Tensor) -> Tensor:
    """Where each distinct row of keys stands first, in ascending order of the keys."""
    _, inverse, counts = torch.unique(keys_NK, dim=0, return_inverse=True, return_counts=True)
    return torch.argsort(inverse, stable=True)[torch.cumsum(counts, 0) - counts]
