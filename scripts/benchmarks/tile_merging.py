"""How well are boxes of tiles merged? Perfect boxes in each tile, merged by three rules, against the true ones.

    python scripts/benchmarks/tile_merging.py [--images 300] [--tile 640] [--overlap 0.2] [--noise 0] [--whole]

Films of 2,048 x 2,048 pixels have 3 large lesions and 6 small ones, one of them within a large one. A tile shows the
lesions of which 0.3 of the area lies in it, with random scores. `--noise 0.02` shifts each edge that no tile cuts by so
much of the side (a standard deviation); `--whole` looks at the whole image too. Rows are sizes (the longer side, in
pixels): extra boxes a lesion, the mean best IoU, and lesions that no tile showed. The rules: ours; suppression of all
boxes with an IoU over 0.5; and SAHI's default (Akyon et al., ICIP 2022), greedy merging of what overlaps by more than
half of the smaller box.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from medtrain.core.box_fusion import pair_iou
from medtrain.core.tile_merging import Views, merge_tiles
from medtrain.core.truth import PredictedBoxes
from medtrain.data.batches.box_places import tile_grid
from medtrain.data.batches.box_samples import boxes_in, tile_samples, whole_samples

Floats = NDArray[np.float64]
SIDE, SIZES = 2048, (0, 32, 120, 300, 600, 1500)


def films(images: int, draw: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
    """Place lesions: large ones apart from each other, small ones anywhere, one in a large one."""
    boxes, image = [], []
    for number in range(images):
        own: list[Floats] = []
        while len(own) < 3:
            box = _place(np.exp(draw.uniform(np.log(120), np.log(1200), 1)) * draw.uniform(0.7, 1, 2), draw)
            if not any(pair_iou(box, other) > 0 for other in own):
                own.append(box)
        within = own[0]
        sides = draw.uniform(8, 40, 2)
        corner = within[:2] + draw.uniform(0, 1, 2) * (within[2:] - within[:2] - sides)
        own.append(np.r_[corner, corner + sides])
        own += [_place(np.exp(draw.uniform(np.log(8), np.log(120), 2)), draw) for _ in range(5)]
        boxes += own
        image += [number] * len(own)
    return np.array(boxes), np.array(image)


def _place(sides: Floats, draw: np.random.Generator) -> Floats:
    corner = draw.uniform(0, 1, 2) * (SIDE - sides)
    return np.r_[corner, corner + sides]


def shown(
    boxes: Floats, image: NDArray[np.int64], args: Any, draw: np.random.Generator
) -> tuple[PredictedBoxes, Views]:
    """Give the boxes that tiles show, in pixels of the film."""
    n = int(image.max()) + 1
    place = np.tile(np.array([1, 1, 0, 0], np.float32), (n, 1))
    whole = whole_samples(np.arange(n), np.arange(n), place, (SIDE, SIDE))
    grid = tile_grid((slice(0, SIDE), slice(0, SIDE)), args.tile, args.overlap, (SIDE, SIDE))
    tiles = tile_samples(whole, [grid] * n, args.tile)
    label = np.zeros(len(boxes), np.int64)
    seen = boxes_in(tiles, boxes, label, image, 0.3)
    corner = tiles.corner_S2[seen.sample_M]
    rect = np.hstack([corner, corner + args.tile]).astype(float)
    found, of, number = seen.boxes_M4 + np.tile(corner, 2), tiles.case_S[seen.sample_M], tiles.instance_S[seen.sample_M]
    if args.whole:
        found, of = np.r_[found, boxes], np.r_[of, image]
        rect = np.r_[rect, np.tile([0.0, 0, SIDE, SIDE], (len(boxes), 1))]
        number = np.r_[number, np.full(len(boxes), len(grid))]
    if args.noise:
        free = np.abs(found - rect) > 0
        sides = np.tile(found[:, 2:] - found[:, :2], 2)
        found = np.clip(
            found + free * sides * draw.normal(0, args.noise, found.shape), rect[:, [0, 1] * 2], rect[:, [2, 3] * 2]
        )
    scores = draw.uniform(0.3, 1, len(found))
    predicted = PredictedBoxes(found.astype(float), scores, np.zeros(len(found), np.int64), of)
    return predicted, Views(number, rect, np.full(len(found), 3.0))


def _any_shows(boxes: Floats, args: Any) -> NDArray[np.bool_]:
    """Tell of which lesions a tile shows 0.3 of the area or more."""
    corner = tile_grid((slice(0, SIDE), slice(0, SIDE)), args.tile, args.overlap, (SIDE, SIDE))
    both = np.minimum(boxes[:, None, 2:], corner + args.tile) - np.maximum(boxes[:, None, :2], corner)
    shares = both.clip(0).prod(-1).max(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.asarray(shares >= 0.3)


def suppressed(boxes: PredictedBoxes) -> PredictedBoxes:
    """Suppress within images, whatever tile boxes are from."""
    parts = (torch.from_numpy(boxes.boxes_N4), torch.from_numpy(boxes.score_N), torch.from_numpy(boxes.image_N))
    return boxes.select(batched_nms(*parts, 0.5).numpy())


def over_smaller(boxes: PredictedBoxes) -> PredictedBoxes:
    """Merge, the surest first, all boxes that share over half of the smaller area with it, into their hull."""
    out: list[tuple[Floats, float, int]] = []
    for image in np.unique(boxes.image_N):
        rows = np.flatnonzero(boxes.image_N == image)
        rows = rows[np.argsort(-boxes.score_N[rows])]
        while len(rows):
            own, rest = boxes.boxes_N4[rows[0]], boxes.boxes_N4[rows]
            both = (np.minimum(own[2:], rest[:, 2:]) - np.maximum(own[:2], rest[:, :2])).clip(0).prod(1)
            area = (rest[:, 2:] - rest[:, :2]).prod(1)
            joined = both > 0.5 * np.minimum(area[0], area)
            joined[0] = True
            hull = np.r_[rest[joined, :2].min(0), rest[joined, 2:].max(0)]
            out.append((hull, float(boxes.score_N[rows[0]]), int(image)))
            rows = rows[~joined]
    n = len(out)
    edges, scores, images = (np.array([row[i] for row in out]) for i in range(3))
    return PredictedBoxes(edges, scores, np.zeros(n, np.int64), images)


def judged(true: Floats, image: NDArray[np.int64], merged: PredictedBoxes, seen: NDArray[np.bool_]) -> list[str]:
    """Write, a size each, of lesions that are shown: extra boxes (a box is its best lesion's), best IoU, misses."""
    best, count = np.zeros(len(true)), np.zeros(len(true))
    for number in np.unique(image):
        rows, own = np.flatnonzero(image == number), np.flatnonzero(merged.image_N == number)
        iou = pair_iou(true[rows][:, None], merged.boxes_N4[own])
        if len(own):
            best[rows] = iou.max(1)
            np.add.at(count, rows[iou.argmax(0)], 1)
    size = np.searchsorted(SIZES, (true[:, 2:] - true[:, :2]).max(1), "right")
    cells = []
    for bin_ in range(1, len(SIZES)):
        of = (size == bin_) & seen
        cells.append(
            f"{np.maximum(count[of] - 1, 0).mean():6.3f} {best[of].mean():6.3f} {(best[of] < 0.5).mean():6.3f}"
        )
    return cells


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--tile", type=int, default=640)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args(argv)
    draw = np.random.default_rng(0)
    true, image = films(args.images, draw)
    found, views = shown(true, image, args, draw)
    seen = _any_shows(true, args) | args.whole
    rules: dict[str, Callable[[], PredictedBoxes]] = {
        "ours": lambda: merge_tiles(found, views, np.tile([[SIDE, SIDE]], (args.images, 1)), 0.5),
        "IoU over 0.5": lambda: suppressed(found),
        "SAHI's": lambda: over_smaller(found),
    }
    table = {name: judged(true, image, rule(), seen) for name, rule in rules.items()}
    size = np.searchsorted(SIZES, (true[:, 2:] - true[:, :2]).max(1), "right")
    print("extra boxes a lesion, mean best IoU, share with a best IoU below 0.5 (of lesions that a tile shows)")
    print(f"{'size':>12} {'lesions':>8} {'unseen':>7}  " + "  ".join(f"{name:^20}" for name in rules))
    for bin_ in range(1, len(SIZES)):
        of = size == bin_
        label = f"{SIZES[bin_ - 1]} to {SIZES[bin_]}"
        cells = "  ".join(f"{table[name][bin_ - 1]:>20}" for name in rules)
        print(f"{label:>12} {of.sum():8d} {(of & ~seen).sum():7d}  {cells}")


if __name__ == "__main__":
    main()
