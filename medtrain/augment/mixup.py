"""Mixup: convex combinations of the images of a batch, and of their losses."""

from __future__ import annotations

import torch
from torch import Tensor

from medtrain.core.streams import stream


def mixup(x_BCHW: Tensor, alpha: float, seed: int, *place: int) -> tuple[Tensor, Tensor, float]:
    """Mix each image with another one of the batch (Zhang et al., mixup, ICLR 2018).

    A loss that is linear in the target, such as cross-entropy, is mixed like the images: ``share * loss(logits, y) +
    (1 - share) * loss(logits, y[partner])``. That holds with unknown labels too, since each label is known or not
    in its own term.

    Args:
        x_BCHW: floating point.
        alpha: of the Beta(alpha, alpha) that the share is drawn from, above 0.
        seed, place: what the draw depends on, e.g. epoch, batch and rank.

    Returns:
        the mixed images, the partner of each (int64, B), and the share of the image itself.
    """
    generator = stream(seed, "mixup", *place)
    share = float(generator.beta(alpha, alpha))
    partner_B = torch.from_numpy(generator.permutation(len(x_BCHW))).to(x_BCHW.device)
    return share * x_BCHW + (1 - share) * x_BCHW[partner_B], partner_B, share
