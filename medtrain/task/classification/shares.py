"""How much each instance of a case counts in its prediction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def shares(outputs: Mapping[str, Tensor], pool: str) -> dict[tuple[int, int], float]:
    """Compute how much each instance counts in its case, 1 on average, by (case, instance).

    Args:
        outputs: case and instance, int64 (N,), and logits of all instances, the score last where attention pools.
        pool: as of `medtrain.task.classification.Classification`; of max and noisy_or nothing is known.
    """
    places = list(zip(outputs["case"].tolist(), outputs["instance"].tolist(), strict=True))
    if pool == "mean":
        return dict.fromkeys(places, 1.0)
    if pool != "attention":
        return {}
    logits = outputs["logits"]
    scores_NS = logits[..., -1].flatten(1) if logits.ndim == 3 else logits[:, -1:]
    known: dict[tuple[int, int], float] = {}
    for case in outputs["case"].unique():
        here = torch.nonzero(outputs["case"] == case).flatten()
        weights = scores_NS[here].softmax(0).mean(1) * len(here)
        known |= {places[n]: float(weight) for n, weight in zip(here.tolist(), weights, strict=True)}
    return known
