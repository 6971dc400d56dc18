"""Merge the boxes that overlapping tiles of an image show of one object.

Where two tiles overlap both look at the same pixels, so boxes of one object agree there however much of it each tile
cuts off. Overlap of the boxes themselves tells less: two halves of a large lesion hardly overlap, and a small lesion
lies wholly within the half of a large one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from medtrain.core.box_fusion import pair_iou
from medtrain.core.truth import PredictedBoxes

Floats = NDArray[np.float64]
CUT_PX = 3.0  # of the network's input: detectors place edges about so exactly
OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])  # left, top, right, bottom


@dataclass(frozen=True)
class Views:
    """Say which part of its image each of N boxes was seen in.

    Args:
        number_N: of the tile within its image.
        rect_N4: the tile's edges in pixels of the original; padding may lie beyond the image.
        margin_N: how near to an edge of the tile, in pixels of the original, a box counts as cut by it.
    """

    number_N: NDArray[np.int64]
    rect_N4: Floats
    margin_N: Floats

    def select(self, rows: NDArray[np.int64]) -> Views:
        """Select the boxes at these positions."""
        return Views(self.number_N[rows], self.rect_N4[rows], self.margin_N[rows])


def on_originals(
    boxes: PredictedBoxes, views: Views | None, size_N2: NDArray[np.int64], overlap: float
) -> PredictedBoxes:
    """Cut the boxes of one network, in pixels of the originals, at their edges, and merge those that tiles show.

    Args:
        views: None where images were seen whole.
        size_N2, overlap: as `merge_tiles` takes them.
    """
    edge_N4 = np.tile(size_N2[boxes.image_N][:, ::-1], 2)
    within = replace(boxes, boxes_N4=np.clip(boxes.boxes_N4, 0, edge_N4))
    return within if views is None else merge_tiles(within, views, size_N2, overlap)


def merge_tiles(boxes: PredictedBoxes, views: Views, size_N2: NDArray[np.int64], overlap: float) -> PredictedBoxes:
    """Merge boxes of one class from different tiles of an image that agree in what both tiles see.

    Boxes that no inner edge of a tile cuts agree by their IoU. Of a merged box each edge is that of the box that is cut
    least, then the surest, among those whose tile does not cut this edge; the score is the highest. A box that agrees
    with a surer one, but is shown by fewer of the tiles that show that one and by no other, is dropped.

    Args:
        size_N2: (height, width) of each image.
        overlap: IoU above which two boxes agree.
    """
    edge_N4 = np.tile(size_N2[boxes.image_N][:, ::-1], 2).astype(np.float64)
    low_N4, high_N4 = np.maximum(np.tile(views.rect_N4[:, :2], 2), 0), np.tile(views.rect_N4[:, 2:], 2)
    inside = np.clip(boxes.boxes_N4, low_N4, np.minimum(high_N4, edge_N4))
    order = np.lexsort((-boxes.score_N, boxes.image_N))
    image = boxes.image_N[order]
    bounds = np.flatnonzero(np.r_[True, image[1:] != image[:-1], True]) if len(order) else np.zeros(1, np.int64)
    merged, chosen = inside.copy(), []
    for first, end in pairwise(bounds.tolist()):
        rows = order[first:end]
        seen = _Seen.of(inside[rows], views.select(rows), edge_N4[rows[0]])
        for members in seen.groups(boxes.label_N[rows], overlap):
            merged[rows[members[0]]] = seen.joined(members)
            chosen.append(rows[members[0]])
    best_K = np.array(chosen, np.int64)
    return PredictedBoxes(merged[best_K], boxes.score_N[best_K], boxes.label_N[best_K], boxes.image_N[best_K])


@dataclass(frozen=True)
class _Seen:
    """The boxes of one image, the surest first.

    Attributes:
        boxes_K4; cut_K4: is this edge cut by the tile?; grown_K4: boxes whose cut edges reach a margin beyond the tile.
        view_K: number of the tile; rects: {tile: its edges, inner ones a margin farther out}.
    """

    boxes_K4: Floats
    cut_K4: NDArray[np.bool_]
    grown_K4: Floats
    view_K: NDArray[np.int64]
    rects: dict[int, Floats]

    @classmethod
    def of(cls, boxes_K4: Floats, views: Views, edge_4: Floats) -> _Seen:
        """Find which edges of boxes are cut: those at an edge of a tile that is none of the image."""
        margin_K1 = views.margin_N[:, None]
        border_4 = edge_4 * (OUTWARD > 0)
        inner_K4 = (border_4 - views.rect_N4) * OUTWARD > margin_K1
        cut_K4 = inner_K4 & ((views.rect_N4 - boxes_K4) * OUTWARD <= margin_K1)
        rect_K4 = views.rect_N4 + OUTWARD * margin_K1 * inner_K4
        numbers, first = np.unique(views.number_N, return_index=True)
        rects = dict(zip(numbers.tolist(), rect_K4[first], strict=True))
        return cls(boxes_K4, cut_K4, np.where(cut_K4, rect_K4, boxes_K4), views.number_N, rects)

    def groups(self, label_K: NDArray[np.int64], overlap: float) -> list[list[int]]:
        """Group boxes of one object, one a tile; of each group and of the groups the surest come first."""
        group = list(range(len(label_K)))
        members = {row: [row] for row in group}
        pairs = self._agreeing(label_K, overlap)
        for a, b in pairs:
            into, other = sorted((group[a], group[b]))
            if into != other and not set(self.view_K[members[into]]) & set(self.view_K[members[other]]):
                members[into] = sorted(members[into] + members[other])
                for row in members.pop(other):
                    group[row] = into
        for a, b in pairs:
            into, other = sorted((group[a], group[b]))
            if into in members and other in members and into != other:
                surer, less = (set(self.view_K[members[number]].tolist()) for number in (into, other))
                if less < surer:
                    del members[other]
        return [members[number] for number in sorted(members)]

    def _agreeing(self, label_K: NDArray[np.int64], overlap: float) -> list[tuple[int, int]]:
        """List pairs of boxes of a class and of two tiles that agree where both look, the best agreement first."""
        parts = [np.empty((0, 3))]
        rows_of = {number: np.flatnonzero(self.view_K == number) for number in self.rects}
        for one, two in combinations(self.rects, 2):
            low = np.maximum(self.rects[one][:2], self.rects[two][:2])
            high = np.minimum(self.rects[one][2:], self.rects[two][2:])
            if (low >= high).any():
                continue
            a, b = (index.ravel() for index in np.meshgrid(rows_of[one], rows_of[two], indexing="ij"))
            same = label_K[a] == label_K[b]
            a, b = a[same], b[same]
            common = [np.clip(self.grown_K4[rows], np.tile(low, 2), np.tile(high, 2)) for rows in (a, b)]
            whole = ~(self.cut_K4[a].any(1) | self.cut_K4[b].any(1))
            iou = np.where(whole, pair_iou(self.boxes_K4[a], self.boxes_K4[b]), pair_iou(*common))
            agree = iou > overlap
            parts.append(np.column_stack([iou, np.minimum(a, b), np.maximum(a, b)])[agree])
        table = np.concatenate(parts)
        table = table[np.lexsort((table[:, 2], table[:, 1], -table[:, 0]))]
        return [(int(a), int(b)) for _, a, b in table]

    def joined(self, members: list[int]) -> Floats:
        """Make one box of a group: each edge from the box that is cut least, then the surest, of those that see it."""
        ranked = sorted(members, key=lambda row: (int(self.cut_K4[row].sum()), row))
        boxes, seen = self.boxes_K4[ranked], ~self.cut_K4[ranked]
        outermost = np.where(OUTWARD > 0, boxes.max(0), boxes.min(0))
        edges: Floats = np.where(seen.any(0), boxes[seen.argmax(0), np.arange(4)], outermost)
        return edges
