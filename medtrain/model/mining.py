"""Hard negatives: the second stage of a detector learns from the proposals that look most like a lesion.

After Shrivastava et al., Training region-based object detectors with online hard example mining, CVPR 2016. Proposals
come surest first, so the hardest negatives are the first ones; overlap of every proposal with every box has made them
negatives before they get here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medtrain.core.errors import UsageError


class HardNegatives:
    """Chooser of the proposals to learn from, in the place of torchvision's random sampler.

    Args:
        most: proposals an image.
        ratio: negatives for each positive.
        least: negatives of an image at least, also of one without lesions, whose false alarms are the hardest.
        pool: negatives are drawn at random from so many of the hardest, or all if there are fewer, so that a lesion
            that nobody has marked isn't learned as background in every epoch.

    Raises:
        UsageError: the pool is smaller than `least`.
    """

    def __init__(self, most: int = 128, ratio: float = 3.0, least: int = 16, pool: int = 100) -> None:
        if pool < least:
            raise UsageError(f"model.mining_pool={pool} is smaller than model.mining_least={least}")
        self.most, self.ratio, self.least, self.pool = most, ratio, least, pool

    def __call__(self, labels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Make masks of the positives and of the negatives, an image each.

        Args:
            labels: of each image the labels of its proposals, surest first: a class from 1, 0 no lesion, -1 neither.
        """
        masks = [self._of_image(label_N) for label_N in labels]
        return [positive for positive, _ in masks], [negative for _, negative in masks]

    def _of_image(self, label_N: Tensor) -> tuple[Tensor, Tensor]:
        positive, negative = (label_N >= 1).nonzero()[:, 0], (label_N == 0).nonzero()[:, 0]
        selected = positive[torch.randperm(len(positive), device=label_N.device)[: self.most]]
        wanted = max(round(self.ratio * len(selected)), self.least)
        wanted = min(wanted, max(self.most - len(selected), self.least))
        hardest = negative[: max(self.pool, wanted)]
        drawn = hardest[torch.randperm(len(hardest), device=label_N.device)[:wanted]]
        masks = torch.zeros(2, len(label_N), dtype=torch.bool, device=label_N.device)
        masks[0, selected], masks[1, drawn] = True, True
        return masks[0], masks[1]
