"""Losses of detectors: of raw outputs at many points against the true boxes, or those that a network brings itself."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medtrain.core.assign import Assigned, Guesses, centre, task_aligned
from medtrain.core.boxes import EPS, Boxes, Raw, decode, iou
from medtrain.core.ranges import Amount, Share, checked
from medtrain.loss.masked import full_precision


def focal_sum(logits: Tensor, target: Tensor, gamma: float, alpha: float | None) -> Tensor:
    """Sum the focal loss of each logit on its own: to be divided by the number of positives, not of points.

    |y - p|^gamma alpha_t CE(p, y) with alpha_t = alpha y + (1 - alpha)(1 - y). For y of 0 and 1 it is equation 5 of Lin
    et al. (Focal loss, 2017), for y between them, the quality of a box, the quality focal loss (Li et al.,
    Generalized focal loss, NeurIPS 2020, eq. 2).

    Args:
        target: 0..1, of the logits' shape.
        gamma: 0 gives the cross-entropy.
        alpha: None: all count alike.
    """
    logits = full_precision(logits)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma:
        loss = loss * (target - logits.sigmoid()).abs().clamp(min=torch.finfo(loss.dtype).eps) ** gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return loss.sum()


class DetectionLoss(nn.Module):
    """Loss of `core.boxes.Raw` outputs: whether there is a lesion at each point, and how well its box fits.

    Args:
        assign: ``task_aligned``, by what the network finds already, or ``centre``, by place and size alone; see
            `core.assign`.
        gamma, alpha: of `focal_sum`.
        box: ``ciou`` or ``giou``, see `core.boxes.iou`.
        box_weight: of the box's part where the scores' part weighs 1.

    Raises:
        UsageError: an argument is out of range.
    """

    own_loss = False

    @checked("loss")
    def __init__(
        self,
        assign: Literal["task_aligned", "centre"] = "task_aligned",
        gamma: Amount = 2.0,
        alpha: Share | None = None,
        box: Literal["ciou", "giou"] = "ciou",
        box_weight: Amount = 2.0,
    ) -> None:
        super().__init__()
        self.assign, self.gamma, self.alpha, self.box, self.box_weight = assign, gamma, alpha, box, box_weight

    def forward(self, raw: Raw, truth: Boxes) -> dict[str, Tensor]:
        """Compute ``class`` and ``box``, both over the summed quality of points that answer for a box, not of all."""
        boxes_BA4 = decode(raw.coded_BA4, raw.points_A2, raw.stride_A)
        with torch.no_grad():
            own = self._assigned(raw, boxes_BA4, truth)
            target_BAC = torch.zeros_like(raw.logits_BAC, dtype=torch.float32)
            target_BAC[own.image_P, own.point_P, truth.labels_M[own.box_P]] = own.quality_P
            total = own.quality_P.sum()
        overlap_P = iou(boxes_BA4[own.image_P, own.point_P], truth.boxes_M4[own.box_P], self.box)
        return {
            "class": focal_sum(raw.logits_BAC, target_BAC, self.gamma, self.alpha) / total.clamp(min=1),
            "box": self.box_weight * ((1 - overlap_P) * own.quality_P).sum() / total.clamp(min=EPS),
        }

    def _assigned(self, raw: Raw, boxes_BA4: Tensor, truth: Boxes) -> Assigned:
        if self.assign == "centre":
            return centre(raw.points_A2, raw.stride_A, *truth)
        return task_aligned(Guesses(raw.logits_BAC.float().sigmoid(), boxes_BA4, raw.points_A2, raw.stride_A), truth)


class OwnLoss(nn.Module):
    """Loss of networks that bring their losses, as torchvision's detectors do: hands them on."""

    own_loss = True

    def forward(self, losses: Any, truth: Boxes) -> dict[str, Tensor]:
        return dict(losses)
