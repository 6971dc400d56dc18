"""Volumes with masks as a segmentation sees them: patches in training, whole cases else, scaled by the plan.

Voxels are cut from the shared store. Where a patch lies follows from (seed, epoch, case, draw) alone, so a resumed run
goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medtrain.core.streams import stream
from medtrain.data.batches.mask_facts import MaskFacts
from medtrain.data.batches.patch_places import Zyx, anywhere, around, cut
from medtrain.data.batches.patches import OFF, Case
from medtrain.target.mask import MaskTarget

Batch = dict[str, Tensor]

IGNORED = -1  # in masks of batches: nobody knows, or beyond the volume
BEYOND = 0.25  # of a patch, by which a random one begins beyond the edges at most


@dataclass(frozen=True)
class MaskCase:
    """Hold what a case is cut from and scaled by.

    Args:
        case: its voxels at the working spacing.
        scale_C4: of each channel low, high, mean and deviation.
        facts: of its mask; None without one.
    """

    case: Case
    scale_C4: NDArray[np.float64]
    facts: MaskFacts | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Give (C, D, H, W)."""
        return self.case.channels, *self.case.shape

    def __getitem__(self, cut: tuple[slice, ...]) -> NDArray[np.float32]:
        """Cut standardised voxels out, [all channels, D, H, W], as of an array that was never made whole."""
        z, y, x = (range(side)[one] for one, side in zip(cut[1:], self.case.shape, strict=True))
        out_CDHW = np.zeros((self.case.channels, len(z), len(y), len(x)), np.float32)
        self.image((z.start, y.start, x.start), (len(z), len(y), len(x)), out_CDHW)
        return out_CDHW

    def image(self, start: Zyx, size: Zyx, out_CDHW: NDArray[np.float32]) -> None:
        """Write the patch, clipped and standardised, into zeros; beyond the volume they stay, the mean."""
        number = 0
        for stored in self.case.images:
            view, lacks = cut(stored.mapped(), start, size)
            inside = _inside(lacks, size)
            for channel, values in enumerate(view):
                low, high, mean, std = self.scale_C4[number].tolist()
                out = out_CDHW[number][inside]
                np.multiply(values, np.float32(stored.scale[channel] / std), out=out)
                out += np.float32((stored.offset[channel] - mean) / std)
                if np.isfinite(low):
                    np.clip(out, np.float32((low - mean) / std), np.float32((high - mean) / std), out=out)
                number += 1

    def mask(self, start: Zyx, size: Zyx, label_of: NDArray[Any], out_DHW: NDArray[Any]) -> None:
        """Write the labels of the patch; beyond the volume they are `IGNORED`."""
        assert self.case.mask is not None
        view, lacks = cut(self.case.mask.mapped(), start, size)
        out_DHW[:] = IGNORED
        np.take(label_of, view[0], out=out_DHW[_inside(lacks, size)], mode="clip")

    def start(self, draw: np.random.Generator, size: Zyx, share: float, learned: frozenset[int]) -> Zyx:
        """Draw where a patch lies: around a voxel of a label, each as likely, in `share` of the draws; else anywhere.

        Args:
            learned: the numbers of the mask that count as labels.
        """
        shape, facts = self.case.shape, self.facts
        wanted, which, point = draw.random(3).tolist()
        off = draw.uniform(-OFF, OFF, 3)
        labels = [] if facts is None else [n for n, label in enumerate(facts.label_L.tolist()) if label in learned]
        if wanted < share and labels and facts is not None:
            places = np.flatnonzero(facts.of_P == labels[int(which * len(labels))])
            return around(facts.point_P3[places[int(point * len(places))]].tolist(), shape, size, off.tolist())
        z, y, x = shape
        return anywhere(draw, shape, ((0, z), (0, y), (0, x)), size, BEYOND)


def _inside(lacks: Sequence[tuple[int, int]], size: Zyx) -> tuple[slice, ...]:
    return tuple(slice(before, length - after) for (before, after), length in zip(lacks, size, strict=True))


def labels_in_batches(target: MaskTarget) -> NDArray[np.int64]:
    """Give what each number of a mask is in a batch: 0..N, `IGNORED`; numbers that are no label are ignored."""
    codes = target.file_codes
    label_of = np.full(max((*codes, target.ignore_label or 0)) + 2, IGNORED, np.int64)
    label_of[0] = 0
    label_of[list(codes)] = np.arange(1, len(codes) + 1)
    return label_of


class TrainingMasks(Dataset[Batch]):
    """Take cases by position; a visit gives one random patch.

    Args:
        cases: with their masks.
        rows: the row number in `cases` of the data module of each.
        size: voxels of a patch.
        share: of the patches around a marked voxel.
        label_of: as of `labels_in_batches`.
        seed: of the run.
    """

    def __init__(
        self,
        cases: Sequence[MaskCase],
        rows: NDArray[np.int64],
        size: Zyx,
        share: float,
        label_of: NDArray[np.int64],
        seed: int,
    ) -> None:
        self.cases, self.rows, self.size, self.share = list(cases), rows.tolist(), size, share
        self.label_of, self.seed = label_of, seed
        self.learned = frozenset(np.flatnonzero(label_of > 0).tolist())

    def __len__(self) -> int:
        return len(self.cases)

    def __getitems__(self, visits: Sequence[tuple[int, int, int]]) -> Batch:
        """Give x (B, C, D, H, W) float32, mask (B, D, H, W) int64, case and draw of visits (position, draw, epoch)."""
        x = np.zeros((len(visits), self.cases[0].case.channels, *self.size), np.float32)
        mask = np.empty((len(visits), *self.size), np.int64)
        for n, (position, drawn, epoch) in enumerate(visits):
            case = self.cases[position]
            draw = stream(self.seed, "patches", epoch, self.rows[position], drawn)
            start = case.start(draw, self.size, self.share, self.learned)
            case.image(start, self.size, x[n])
            case.mask(start, self.size, self.label_of, mask[n])
        return {
            "x": torch.from_numpy(x),
            "mask": torch.from_numpy(mask),
            "case": torch.tensor([self.rows[position] for position, _, _ in visits]),
            "draw": torch.tensor([drawn for _, drawn, _ in visits]),
        }


class WholeCases(Dataset[Batch]):
    """Name whole cases, one a batch: their voxels are cut from the store where they are looked at, window by window.

    Args:
        rows: the row number in `cases` of the data module of each.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.rows = rows.tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Give case (1,)."""
        (position,) = positions
        return {"case": torch.tensor([self.rows[position]])}
