"""Whether only the largest connected component of a class counts: decided on validation, class by class.

nnU-Net's rule (Isensee et al., Nature Methods 2021): it counts alone where the mean Dice of the validation cases is
better so. Who knows that there may be several says ``eval.largest_component=false``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.metric.mask_overlap import values_of

AUTO = "auto"  # of eval.largest_component


def compared(outputs: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Give the mean Dice of the validation cases by class, of all that is predicted and of the largest components.

    Args:
        outputs: of cases, ``measured`` and ``largest`` (1, C, M), as of `medtrain.metric.mask_overlap.measure`.

    Returns:
        {class: {"all": ..., "largest": ...}}; of classes that have a Dice in a case, nothing where none was compared.
    """
    both = [batch for batch in outputs if "largest" in batch]
    made = {}
    for number, name in enumerate(classes if both else ()):
        dice = {
            word: values_of(np.stack([batch[key][0].numpy()[number] for batch in both]))["dice"]
            for word, key in (("all", "measured"), ("largest", "largest"))
        }
        known = np.isfinite(dice["all"])
        if known.any():
            made[name] = {word: float(values[known].mean()) for word, values in dice.items()}
    return made


def counted(batch: Mapping[str, Any], chosen: Sequence[int]) -> NDArray[np.float64]:
    """Take what was measured of a case, (C, M): of the largest components of the chosen classes, where both were."""
    measured_CM: NDArray[np.float64] = batch["measured"][0].numpy().copy()
    if "largest" in batch:
        measured_CM[chosen] = batch["largest"][0].numpy()[chosen]
    return measured_CM


def in_words(components: Mapping[str, Mapping[str, float]], chosen: Sequence[str]) -> list[str]:
    """Say of which classes the largest component counts alone, and what that was worth on validation."""
    texts = []
    for name in chosen:
        dice = components.get(name)
        worth = f" (Dice on validation {dice['largest']:.4f}, of all {dice['all']:.4f})" if dice else ""
        texts.append(
            f"{name}: only the largest connected component counts{worth}; eval.largest_component=false for all"
        )
    return texts
