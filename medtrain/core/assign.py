"""The points of a feature map that answer for each lesion: the targets of detectors without anchors.

All boxes of a batch are assigned at once, image by image in effect: `image_M` says to which row a box belongs.
torchvision's detectors bring their own assignment (by the largest IoU with an anchor).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medtrain.core.boxes import Boxes, area, iou


class Assigned(NamedTuple):
    """The P points of a batch that answer for a box.

    Args:
        image_P: row of the batch.
        point_P: number of the point.
        box_P: number of the box.
        quality_P: what the score of the box's class should be, 0..1.
    """

    image_P: Tensor
    point_P: Tensor
    box_P: Tensor
    quality_P: Tensor


class Guesses(NamedTuple):
    """What the A points of each image say.

    Args:
        probs_BAC: scores, 0..1.
        boxes_BA4: in pixels.
        points_A2, stride_A: where the points lie; see `core.boxes.grid_points`.
    """

    probs_BAC: Tensor
    boxes_BA4: Tensor
    points_A2: Tensor
    stride_A: Tensor


def task_aligned(guesses: Guesses, truth: Boxes, *, top: int = 13, alpha: float = 1.0, beta: float = 6.0) -> Assigned:
    """Assign boxes by task alignment: the points that already score and locate a box best learn to find it.

    Feng et al., TOOD, ICCV 2021, section 3.2: alignment t = s^alpha u^beta of the score s of the box's class and the
    IoU u; each box takes the `top` points within it, a point that several boxes want goes to the one with the
    largest IoU, and the score to learn is t, scaled so that its maximum over a box's points is their largest IoU.

    A box narrower than the finest stride would hold no point; it counts as that wide here, so a lesion of 4 pixels
    is learned too.
    """
    probs_BAC, predicted_BA4, points_A2, stride_A = guesses
    boxes_M4, labels_M, image_M = truth
    if not len(boxes_M4):
        return _nobody(labels_M)
    least = stride_A.min()
    middle_M2, half_M2 = (boxes_M4[:, :2] + boxes_M4[:, 2:]) / 2, (boxes_M4[:, 2:] - boxes_M4[:, :2]) / 2
    away_MA2 = (points_A2 - middle_M2[:, None]).abs()
    m, a = ((away_MA2 <= half_M2.clamp(min=least / 2)[:, None]).all(-1)).nonzero(as_tuple=True)
    overlap = iou(predicted_BA4[image_M[m], a], boxes_M4[m])
    score = probs_BAC[image_M[m], a, labels_M[m]].float().pow(alpha) * overlap.pow(beta)
    shape = (len(boxes_M4), len(points_A2))
    aligned_MA = score.new_full(shape, -1.0).index_put((m, a), score)
    overlap_MA = score.new_zeros(shape).index_put((m, a), overlap)
    most = min(top, shape[1])
    chosen_MA = torch.zeros_like(aligned_MA, dtype=torch.bool).scatter_(1, aligned_MA.topk(most, 1).indices, True)
    chosen_MA &= aligned_MA >= 0
    box_P, point_P = _one_box_a_point(chosen_MA, overlap_MA, image_M).nonzero(as_tuple=True)
    t_P, u_P = aligned_MA[box_P, point_P], overlap_MA[box_P, point_P]
    best_t, best_u = (v.new_zeros(shape[0]).scatter_reduce(0, box_P, v, "amax") for v in (t_P, u_P))
    quality_P = t_P / best_t[box_P].clamp(min=1e-9) * best_u[box_P]
    return Assigned(image_M[box_P], point_P, box_P, quality_P)


def centre(
    points_A2: Tensor,
    stride_A: Tensor,
    boxes_M4: Tensor,
    labels_M: Tensor,
    image_M: Tensor,
    *,
    radius: float = 1.5,
    reach: float = 8.0,
) -> Assigned:
    """Assign boxes to points near their centres, on the level that fits their sizes, whatever the network predicts.

    Centre sampling and levels of Tian et al., FCOS, ICCV 2019 and TPAMI 2020: a point answers if it lies within the
    box and `radius` strides of its centre, and the farthest edge is `reach` / 2 to `reach` strides away (the finest
    and the coarsest level take what is smaller and larger); of several boxes the smallest wins. A box in which no
    point lies takes the point nearest to its centre. Every quality is 1.
    """
    if not len(boxes_M4):
        return _nobody(labels_M)
    middle_M2 = (boxes_M4[:, :2] + boxes_M4[:, 2:]) / 2
    away_MA = (points_A2 - middle_M2[:, None]).abs().amax(-1)
    edges_MA4 = torch.cat([points_A2 - boxes_M4[:, None, :2], boxes_M4[:, None, 2:] - points_A2], -1)
    farthest_MA = edges_MA4.amax(-1) / stride_A
    finest, coarsest = stride_A == stride_A.min(), stride_A == stride_A.max()
    fits_MA = ((farthest_MA > reach / 2) | finest) & ((farthest_MA <= reach) | coarsest)
    inside_MA = (edges_MA4.amin(-1) > 0) & (away_MA <= radius * stride_A) & fits_MA
    nearest_M = torch.where(finest, away_MA, torch.inf).argmin(1)
    empty_M = ~inside_MA.any(1)
    inside_MA[empty_M.nonzero()[:, 0], nearest_M[empty_M]] = True
    smallest_MA = -area(boxes_M4)[:, None].expand_as(away_MA)
    box_P, point_P = _one_box_a_point(inside_MA, smallest_MA, image_M).nonzero(as_tuple=True)
    return Assigned(image_M[box_P], point_P, box_P, torch.ones(len(box_P), device=boxes_M4.device))


def _one_box_a_point(wanted_MA: Tensor, claim_MA: Tensor, image_M: Tensor) -> Tensor:
    """Leave each point of an image that several boxes want to the box of the largest claim."""
    claim_MA = torch.where(wanted_MA, claim_MA, -torch.inf)
    best_BA = claim_MA.new_full((int(image_M.max()) + 1, claim_MA.shape[1]), -torch.inf)
    best_BA = best_BA.scatter_reduce(0, image_M[:, None].expand_as(claim_MA), claim_MA, "amax")
    first_MA = wanted_MA & (claim_MA == best_BA[image_M])
    taken_BA = torch.full_like(best_BA, len(image_M), dtype=torch.long)  # equal claims: the first box
    number_MA = torch.arange(len(image_M), device=image_M.device)[:, None].expand_as(claim_MA)
    number_MA = torch.where(first_MA, number_MA, len(image_M))
    taken_BA = taken_BA.scatter_reduce(0, image_M[:, None].expand_as(number_MA), number_MA, "amin")
    return first_MA & (number_MA == taken_BA[image_M])


def _nobody(labels_M: Tensor) -> Assigned:
    none = labels_M.new_zeros(0)
    return Assigned(none, none, none, none.float())
