"""Boxes in pixels as (left, top, right, bottom): overlap, coding, suppression; one story for networks and losses.

A box is half open: its width is right - left, without the pixel that some formats add.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-7
LARGEST = 6.0  # logarithm of the size of a box in strides, so that no exponential overflows


class Boxes(NamedTuple):
    """The true boxes of a batch, packed.

    Args:
        boxes_M4: in pixels of the network's input, float32.
        labels_M: class numbers from 0, int64.
        image_M: row of the batch, int64.
    """

    boxes_M4: Tensor
    labels_M: Tensor
    image_M: Tensor


class Raw(NamedTuple):
    """The output of a network without anchors at each of A points, before any decision.

    Args:
        logits_BAC: a score each class, each on its own.
        coded_BA4: the box, see `decode`.
        points_A2, stride_A: see `grid_points`.
    """

    logits_BAC: Tensor
    coded_BA4: Tensor
    points_A2: Tensor
    stride_A: Tensor


class Candidates(NamedTuple):
    """What a detector proposes in each image of a batch before suppression, as many boxes an image as in any other.

    Args:
        boxes_BK4: in pixels of the network's input, float32.
        scores_BK: 0..1.
        labels_BK: class numbers from 0; of the first of two stages levels.
    """

    boxes_BK4: Tensor
    scores_BK: Tensor
    labels_BK: Tensor


class Detections(NamedTuple):
    """The boxes that a detector predicts in a batch, packed; of each image the surest first.

    Args:
        boxes_N4: in pixels of the network's input, float32.
        scores_N: 0..1.
        labels_N: class numbers from 0.
        image_N: row of the batch.
    """

    boxes_N4: Tensor
    scores_N: Tensor
    labels_N: Tensor
    image_N: Tensor

    def take(self, rows: Tensor) -> Detections:
        """Take the detections at these positions, or where a mask is true."""
        return Detections(*(field[rows] for field in self))


def area(boxes_X4: Tensor) -> Tensor:
    """Compute width times height, 0 for a box that ends before it starts."""
    return (boxes_X4[..., 2:] - boxes_X4[..., :2]).clamp(min=0).prod(-1)


def iou(a_X4: Tensor, b_X4: Tensor, kind: str = "iou") -> Tensor:
    """Compute the overlap of boxes that broadcast: ``iou(a[:, None], b)`` is pairwise, ``iou(a, b)`` is not.

    Args:
        a_X4, b_X4: (..., 4).
        kind: ``iou``, in 0..1; ``giou`` (Rezatofighi et al., CVPR 2019, algorithm 1) or ``ciou`` (Zheng et al.,
            Distance-IoU loss, AAAI 2020, eq. 10), which also tell apart boxes that don't meet.

    Raises:
        ValueError: no such kind.
    """
    a, b = a_X4.float(), b_X4.float()
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = area(a) + area(b) - shared
    overlap = shared / union.clamp(min=EPS)
    if kind == "iou":
        return overlap
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    if kind == "giou":
        around = hull.clamp(min=0).prod(-1).clamp(min=EPS)
        return overlap - (around - union) / around
    if kind != "ciou":
        raise ValueError(f"kind {kind!r} is none of iou, giou, ciou")
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).pow(2).sum(-1) / hull.pow(2).sum(-1).clamp(EPS)
    (aw, ah), (bw, bh) = ((box[..., 2:] - box[..., :2]).clamp(min=EPS).unbind(-1) for box in (a, b))
    shape = 4 / math.pi**2 * (torch.atan(aw / ah) - torch.atan(bw / bh)).pow(2)
    with torch.no_grad():
        weight = shape / (1 - overlap + shape).clamp(min=EPS)
    return overlap - apart - weight * shape


def share_inside(a_X4: Tensor, b_X4: Tensor) -> Tensor:
    """Compute the share of boxes `a` that lies within boxes `b`, which broadcast: COCO's overlap with a crowd."""
    a, b = a_X4.float(), b_X4.float()
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return shared / area(a).clamp(min=EPS)


def marked_pixels(boxes_M4: Tensor, image_M: Tensor, x_BCHW: Tensor) -> Tensor:
    """Mark, (B, H, W) bool, the pixels that boxes touch; `image_M` is the row of each box."""
    marked_BHW = torch.zeros((len(x_BCHW), *x_BCHW.shape[-2:]), dtype=torch.bool, device=x_BCHW.device)
    edges_M4 = torch.cat([boxes_M4[:, :2].floor(), boxes_M4[:, 2:].ceil()], 1).clamp(min=0).long()
    for image, (x0, y0, x1, y1) in zip(image_M.tolist(), edges_M4.tolist(), strict=True):
        marked_BHW[image, y0:y1, x0:x1] = True
    return marked_BHW


def encode(boxes_X4: Tensor, points_X2: Tensor, stride_X: Tensor) -> Tensor:
    """Code boxes as seen from points: shift of the centre and logarithm of width and height, in strides.

    The coding of Ge et al., YOLOX, 2021. Unlike distances to the edges it reaches a box that the point lies beside, as
    for a lesion of 4 pixels.
    """
    stride = stride_X[..., None]
    shift = ((boxes_X4[..., :2] + boxes_X4[..., 2:]) / 2 - points_X2) / stride
    return torch.cat([shift, ((boxes_X4[..., 2:] - boxes_X4[..., :2]).clamp(min=EPS) / stride).log()], -1)


def decode(coded_X4: Tensor, points_X2: Tensor, stride_X: Tensor) -> Tensor:
    """Decode boxes that `encode` coded, in float32 whatever the network computes in."""
    stride, coded = stride_X[..., None], coded_X4.float()
    middle, half = points_X2 + coded[..., :2] * stride, coded[..., 2:].clamp(max=LARGEST).exp() * stride / 2
    return torch.cat([middle - half, middle + half], -1)


def grid_points(sizes: list[tuple[int, int]], strides: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """List the centres of the cells of feature maps, level after level, row after row.

    Args:
        sizes: (height, width) of each map.
        strides: pixels of the input between two cells.

    Returns:
        points_A2, (x, y) in pixels of the input, and stride_A.
    """
    points, steps = [], []
    for (height, width), stride in zip(sizes, strides, strict=True):
        y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        steps.append(torch.full((height * width,), float(stride), device=device))
    return torch.cat(points), torch.cat(steps)


def suppress(detections: Detections, overlap: float, most: int) -> Detections:
    """Suppress overlapping boxes within each image and class; of each image at most `most` remain, the surest first.

    Args:
        overlap: of two boxes of a class with a larger IoU the surer one stays.
    """
    from torchvision.ops import batched_nms  # late: torchvision takes long to import, and not all networks need it

    classes = int(detections.labels_N.max()) + 1 if len(detections.labels_N) else 1
    group_N = detections.image_N * classes + detections.labels_N
    chosen = batched_nms(detections.boxes_N4.float(), detections.scores_N.float(), group_N, overlap)
    chosen = chosen[detections.image_N[chosen].argsort(stable=True)]
    rank = torch.arange(len(chosen), device=chosen.device)
    image = detections.image_N[chosen]
    first = torch.searchsorted(image, image)  # where the box's image begins
    return detections.take(chosen[rank - first < most])


def moved(boxes_X4: Tensor, place_X4: Tensor, *, back: bool = False) -> Tensor:
    """Scale and shift boxes by (sx, sy, tx, ty): x' = sx * x + tx, mirrored where sx < 0; with `back` the other way
    round."""
    scale, shift = (torch.cat([part, part], -1) for part in (place_X4[..., :2], place_X4[..., 2:]))
    out_X4 = (boxes_X4 - shift) / scale if back else boxes_X4 * scale + shift
    return torch.where(scale < 0, out_X4.roll(2, -1), out_X4)
