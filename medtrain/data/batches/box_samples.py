"""Packed batches of cached images with their boxes, whole or in tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from medtrain.data.batches.pictures import Batch, drawn, scaled
from medtrain.io.store.pixels import ImageCache

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """Say what is cut from the cache: S images, or tiles of images.

    Attributes:
        slot_S: number of the image in the cache; case_S: row number in `cases`.
        place_S4: (sx, sy, tx, ty) of each sample, x_net = sx * x_file + tx.
        corner_S2: left and top of the sample in the cached image.
        instance_S: number of the tile within its image; that of the image shrunk as a whole is the last.
        shrunk_S: is the sample the whole image at a tile's size?
        size: (H, W) of each.
        tiled: is `instance_S` worth telling?
    """

    slot_S: NDArray[np.int64]
    case_S: NDArray[np.int64]
    place_S4: Floats
    corner_S2: NDArray[np.int64]
    instance_S: NDArray[np.int64]
    shrunk_S: NDArray[np.bool_]
    size: tuple[int, int]
    tiled: bool

    def __len__(self) -> int:
        return len(self.slot_S)


@dataclass(frozen=True)
class SampleBoxes:
    """Hold boxes of samples in pixels of each, (M, 4), with labels (M,).

    Attributes:
        sample_M: the sample of each box, ascending; number_M: which of the true boxes it is.
    """

    boxes_M4: Floats
    label_M: NDArray[np.int64]
    sample_M: NDArray[np.int64]
    number_M: NDArray[np.int64]


class BoxImages(Dataset[Batch]):
    """Take images by position; each fetch is a whole batch (see `medtrain.data.batches.boxes`).

    Args:
        cache: the pixels.
        samples: what is cut from it.
        boxes: of the samples; None where nobody knows them.
        ignored: of the samples, neither to be found nor false; None where there are none.
    """

    def __init__(
        self,
        cache: ImageCache,
        samples: Samples,
        boxes: SampleBoxes | None = None,
        ignored: SampleBoxes | None = None,
    ) -> None:
        self.cache, self.size, self.tiled = cache, samples.size, samples.tiled
        # Tensors: processes started by spawn share them, where arrays would be copied to each.
        self.slots, self.cases = torch.from_numpy(samples.slot_S), torch.from_numpy(samples.case_S)
        self.places, self.corners = torch.from_numpy(samples.place_S4), torch.from_numpy(samples.corner_S2)
        self.instances, self.shrunk = torch.from_numpy(samples.instance_S), torch.from_numpy(samples.shrunk_S)
        self.boxes, self.ignored = _shared(boxes, len(samples)), _shared(ignored, len(samples))

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, position: int) -> Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[int | tuple[int, int]]) -> Batch:
        """Take positions, or pairs (position, draw) of samplers that repeat images."""
        index, draw = drawn(positions)
        batch = {"x": self._pixels(index), "case": self.cases[index], "place": self.places[index]} | draw
        if self.tiled:
            batch["instance"] = self.instances[index]
        return batch | self._boxes(index)

    def _pixels(self, index_B: Tensor) -> Tensor:
        slot_B, corner_B2 = self.slots[index_B].numpy(), self.corners[index_B].numpy()
        if not self.tiled:
            return scaled(self.cache[slot_B])
        x_BCHW = scaled(self.cache.cut(slot_B, corner_B2, self.size))
        for row in torch.nonzero(self.shrunk[index_B]).ravel().tolist():
            x_BCHW[row] = scaled(shrunk(self.cache[slot_B[row : row + 1]][0], self.size))
        return x_BCHW

    def _boxes(self, index_B: Tensor) -> Batch:
        if self.boxes is None:
            return {}
        rows_M, image_M = _rows_of(self.boxes[2], index_B)
        batch = {"boxes": self.boxes[0][rows_M], "labels": self.boxes[1][rows_M], "image": image_M}
        if self.ignored is not None:
            rows_K, image_K = _rows_of(self.ignored[2], index_B)
            batch |= {"ignored": self.ignored[0][rows_K], "ignored_image": image_K}
        return batch


def _shared(boxes: SampleBoxes | None, samples: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """Give boxes, labels and where each sample's boxes begin, as tensors."""
    if boxes is None:
        return None
    first = np.searchsorted(boxes.sample_M, np.arange(samples + 1))
    return torch.from_numpy(boxes.boxes_M4), torch.from_numpy(boxes.label_M), torch.from_numpy(first)


def _rows_of(first_S: Tensor, index_B: Tensor) -> tuple[Tensor, Tensor]:
    """List the boxes of samples, and the place of each box's sample among these."""
    count_B = first_S[index_B + 1] - first_S[index_B]
    image_M = torch.repeat_interleave(torch.arange(len(index_B)), count_B)
    within_M = torch.arange(len(image_M)) - (count_B.cumsum(0) - count_B)[image_M]
    return first_S[index_B][image_M] + within_M, image_M


def shrunk(pixels_CHW: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Shrink a picture into `size` (h, w), from the left top corner on: (C, h, w) of the same type.

    One of 8 bits that lies among deeper ones, all its values multiples of 257, gets what it gets among its like.
    """
    sides = _shrunk_sides((pixels_CHW.shape[1], pixels_CHW.shape[2]), size)
    step = 257 if pixels_CHW.dtype == np.uint16 and not (pixels_CHW % 257).any() else 1
    out_CHW = np.zeros((len(pixels_CHW), *size), pixels_CHW.dtype)
    for plane_HW, out_HW in zip(pixels_CHW.astype(np.float32), out_CHW, strict=True):
        small = Image.fromarray(plane_HW).resize(sides[::-1], Image.Resampling.BILINEAR)  # antialiased
        out_HW[: sides[0], : sides[1]] = np.rint(np.asarray(small) / step) * step
    return out_CHW


def _shrunk_sides(whole: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    scale = min(size[0] / whole[0], size[1] / whole[1])
    return max(1, round(whole[0] * scale)), max(1, round(whole[1] * scale))


def whole_samples(
    slots: NDArray[np.int64], cases: NDArray[np.int64], place_N4: Floats, size: tuple[int, int]
) -> Samples:
    """Make a sample of each image."""
    none = np.zeros(len(slots), np.int64)
    return Samples(slots, cases, place_N4, np.zeros((len(slots), 2), np.int64), none, none > 0, size, tiled=False)


def tile_samples(whole: Samples, grids: Sequence[NDArray[np.int64]], tile: int, also_whole: bool = False) -> Samples:
    """Cut the tiles of each image; `grids` has their corners (`medtrain.data.batches.box_places`).

    Args:
        also_whole: an image of several tiles is a sample as a whole too, shrunk to the size of a tile.
    """
    extra = [int(also_whole and len(grid) > 1) for grid in grids]
    count = [len(grid) + more for grid, more in zip(grids, extra, strict=True)]
    of = np.repeat(np.arange(len(whole)), count)
    none = np.zeros((1, 2), np.int64)
    corners = [part for grid, more in zip(grids, extra, strict=True) for part in (grid, none[:more])]
    corner_S2 = np.concatenate([*corners, none[:0]])
    number = np.concatenate([*(np.arange(n) for n in count), np.empty(0, np.int64)])
    shrunk_S = number == np.array([len(grid) for grid in grids], np.int64)[of]
    place_S4 = whole.place_S4[of].copy()
    place_S4[:, 2:] -= corner_S2
    height, width = _shrunk_sides(whole.size, (tile, tile))
    place_S4[shrunk_S] *= np.array([width / whole.size[1], height / whole.size[0]] * 2, np.float32)
    return Samples(whole.slot_S[of], whole.case_S[of], place_S4, corner_S2, number, shrunk_S, (tile, tile), tiled=True)


def boxes_in(
    samples: Samples,
    boxes_M4: NDArray[np.float64],
    label_M: NDArray[np.int64],
    case_M: NDArray[np.int64],
    min_visible: float,
) -> SampleBoxes:
    """Place the boxes of cases, in pixels of the files, as each sample shows them.

    Boxes are cut at the edges, and left out where less than the share `min_visible` of their area is left.

    Args:
        case_M: ascending.
    """
    first, last = (np.searchsorted(case_M, samples.case_S, side) for side in ("left", "right"))
    count_S = last - first
    sample_K = np.repeat(np.arange(len(samples)), count_S)
    box_K = np.arange(len(sample_K)) - np.repeat(np.cumsum(count_S) - count_S, count_S) + np.repeat(first, count_S)
    scale_K2, shift_K2 = np.split(samples.place_S4[sample_K].astype(np.float64), 2, axis=1)
    placed_K4 = boxes_M4[box_K] * np.tile(scale_K2, 2) + np.tile(shift_K2, 2)
    height, width = samples.size
    cut_K4 = np.clip(placed_K4, 0, [width, height, width, height])
    side_K2, whole_K2 = cut_K4[:, 2:] - cut_K4[:, :2], placed_K4[:, 2:] - placed_K4[:, :2]
    shown = (side_K2 > 0).all(1) & (side_K2.prod(1) >= min_visible * whole_K2.prod(1))
    number_M = box_K[shown]
    return SampleBoxes(cut_K4[shown].astype(np.float32), label_M[number_M], sample_K[shown], number_M)
