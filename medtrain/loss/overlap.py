"""Losses of masks: how well the voxels of each class are covered, beside how likely each voxel's label is.

Called as ``loss(outputs, mask_BDHW)``: logits (B, K, D, H, W), or a list of them from fine to coarse, which count half
as much from one to the next (deep supervision); labels 0..N, negative where nobody knows, and such voxels count
nothing. Where classes are regions, each has a sigmoid of its own; else a softmax chooses a label.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.ranges import Amount, checked
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

SMOOTH = 1e-5


class OverlapLoss(nn.Module):
    """A pixelwise part and an overlap part.

    Args:
        regions: of each output the labels that make it; () for a softmax over labels.
        gamma: of the pixelwise part; 0 is cross-entropy, else focal (Lin et al., ICCV 2017).
        pixelwise, overlap: weights of the parts.
        costs: what a voxel called wrongly, and one missed, counts in the overlap (alpha and beta of Tversky's: Salehi
            et al., MLMI 2017); 0.5 and 0.5 make it the Dice coefficient.
        batch: the overlap is that of all cases of a batch together, else the mean of each case's.
    """

    region_KL: Tensor | None

    def __init__(
        self,
        regions: Sequence[Sequence[int]],
        labels: int,
        gamma: float = 0.0,
        pixelwise: float = 1.0,
        overlap: float = 1.0,
        costs: tuple[float, float] = (0.5, 0.5),
        batch: bool = True,
    ) -> None:
        super().__init__()
        self.gamma, self.pixelwise, self.overlap = gamma, pixelwise, overlap
        self.costs, self.batch = costs, batch
        table = torch.zeros(len(regions), labels + 1)
        for row, region in enumerate(regions):
            table[row, list(region)] = 1
        self.register_buffer("region_KL", table if len(regions) else None, persistent=False)

    def forward(self, outputs: Tensor | list[Tensor], mask_BDHW: Tensor) -> dict[str, Tensor]:
        """Compute the parts, scalars."""
        scales = outputs if isinstance(outputs, list) else [outputs]
        weight = torch.tensor([0.5**n for n in range(len(scales))])
        parts = [self._parts(full_precision(x), shrunk(mask_BDHW, x)) for x in scales]
        share = (weight / weight.sum()).tolist()
        names = ("pixelwise", "overlap")
        sums = {name: sum(w * part[n] for w, part in zip(share, parts, strict=True)) for n, name in enumerate(names)}
        wanted = {"pixelwise": self.pixelwise, "overlap": self.overlap}
        return {name: wanted[name] * torch.as_tensor(value) for name, value in sums.items() if wanted[name]}

    def _parts(self, logits: Tensor, mask_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        known = mask_BDHW >= 0
        label = mask_BDHW.clamp(min=0)
        if self.region_KL is None:
            loss = F.cross_entropy(logits, label, reduction="none")
            probs, truth = logits.softmax(1), F.one_hot(label, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
            probs, truth, spread = probs[:, 1:], truth[:, 1:], known
        else:
            truth = self.region_KL.to(logits.dtype)[:, label].movedim(0, 1)
            loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
            probs, spread = logits.sigmoid(), known[:, None].expand_as(loss)
        if self.gamma:
            loss = loss * (1 - torch.exp(-loss)) ** self.gamma
        return masked_mean(loss, spread), self._overlap(probs, truth, known[:, None])

    def _overlap(self, probs: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Compute 1 less the overlap, averaged over classes; a class that nobody sees and nobody calls is right."""
        axes = (0, 2, 3, 4) if self.batch else (2, 3, 4)
        probs, truth = probs * known, truth * known
        both = (probs * truth).sum(axes)
        wrongly, missed = (probs * (1 - truth)).sum(axes), ((1 - probs) * truth).sum(axes)
        score = (both + SMOOTH) / (both + self.costs[0] * wrongly + self.costs[1] * missed + SMOOTH)
        return 1 - score.mean()


def shrunk(mask_BDHW: Tensor, logits: Tensor) -> Tensor:
    """Take the labels at the voxels of a coarser output, the nearest ones."""
    if mask_BDHW.shape[1:] == logits.shape[2:]:
        return mask_BDHW
    return F.interpolate(mask_BDHW[:, None].float(), logits.shape[2:], mode="nearest")[:, 0].long()


def _of(spec: DataSpec, name: str) -> tuple[tuple[tuple[int, ...], ...], int]:
    if not isinstance(spec.target, MaskTarget):
        raise UsageError(f"loss={name} learns masks: a target of kind {spec.target.kind} has none")
    return spec.target.regions, len(spec.target.labels or spec.target.classes)


@checked("loss")
def dice_ce(spec: DataSpec, dice: Amount = 1.0, cross_entropy: Amount = 1.0, batch: bool = False) -> nn.Module:
    """Build Dice with cross-entropy, as nnU-Net has it.

    Args:
        spec: of masks.
        dice, cross_entropy: weights of the parts.
        batch: the Dice coefficient of all cases of a batch together; else the mean of each case's, where a small
            structure counts as much as a large one.

    Raises:
        UsageError: the target has no masks.
    """
    return OverlapLoss(*_of(spec, "dice_ce"), pixelwise=cross_entropy, overlap=dice, batch=batch)


@checked("loss")
def dice_focal(spec: DataSpec, gamma: Amount = 2.0, dice: Amount = 1.0, batch: bool = False) -> nn.Module:
    """Build Dice with focal loss, for structures of a few voxels.

    Args:
        spec: of masks.
        gamma: by which voxels that are right already count less.
        dice: weight of that part.
        batch: the Dice coefficient of all cases of a batch together; else the mean of each case's, where a small
            structure counts as much as a large one.

    Raises:
        UsageError: the target has no masks.
    """
    return OverlapLoss(*_of(spec, "dice_focal"), gamma=gamma, overlap=dice, batch=batch)


@checked("loss")
def tversky(
    spec: DataSpec, alpha: Amount = 0.3, beta: Amount = 0.7, cross_entropy: Amount = 1.0, batch: bool = False
) -> nn.Module:
    """Build the Tversky loss with cross-entropy: `beta` above `alpha` prefers calling too much to missing.

    Args:
        spec: of masks.
        alpha, beta: what a voxel called wrongly, and one missed, counts.
        cross_entropy: weight of that part.
        batch: of all cases of a batch together; else the mean of each case's.

    Raises:
        UsageError: the target has no masks.
    """
    return OverlapLoss(*_of(spec, "tversky"), pixelwise=cross_entropy, costs=(alpha, beta), batch=batch)
