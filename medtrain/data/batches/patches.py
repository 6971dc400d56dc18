"""Patches read from the cache: several of a volume at a visit in training, all of them in order in evaluation.

A volume is mapped for the time of a visit, so a worker holds no more of it than it reads. Where patches lie follows
from (seed, epoch, case, draw), so a resumed run goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medtrain.core.streams import stream
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patch_places import Starts, Zyx, anywhere, around, cut, grid
from medtrain.io.store.voxel_values import Box
from medtrain.io.store.voxels import Stored

Batch = dict[str, Tensor]

PAD_MODES = {"edge": "edge", "mirror": "symmetric"}
TRIES = 8  # for a patch of background
OFF = 0.25  # share of a patch by which a marked voxel misses its middle, at most


@dataclass(frozen=True)
class Case:
    """Hold the cached files of a case; all have the shape (D, H, W) of the first image."""

    images: tuple[Stored, ...]
    mask: Stored | None = None

    @property
    def shape(self) -> Zyx:
        return self.images[0].shape[1:]

    @property
    def channels(self) -> int:
        return sum(image.shape[0] for image in self.images)

    def region(self, crop: bool) -> Box:
        """Say where patches may lie."""
        z, y, x = self.shape
        return self.images[0].box if crop else ((0, z), (0, y), (0, x))

    def centre(self, how: str) -> list[float]:
        """Find the middle of the volume, of its foreground, or of what its mask marks."""
        box = self.region(crop=how == "foreground")
        if how == "mask":
            assert self.mask is not None
            box = self.mask.box
        return [(low + high) / 2 for low, high in box]


def grid_of(case: Case, form: PatchForm) -> Starts:
    """Say where the patches of a case lie in evaluation: all combinations."""
    if form.center == "none":
        return grid(case.shape, case.region(form.crop), form.size, form.stride)
    z, y, x = around(case.centre(form.center), case.shape, form.size)
    return np.array([z]), np.array([y]), np.array([x])


class Visit:
    """Cut patches of a case whose voxels are mapped."""

    def __init__(self, case: Case, form: PatchForm) -> None:
        self.case, self.form = case, form
        self.images = [image.mapped() for image in case.images]
        self.mask = None if case.mask is None else case.mask.mapped()[0]

    def patch(self, start: Zyx, out_CDHW: NDArray[np.float32], draw: np.random.Generator) -> None:
        """Write the patch, windowed to 0..1, into zeros."""
        number = 0
        for image, stored in zip(self.images, self.case.images, strict=True):
            view, lacks = cut(image, start, self.form.size)
            inside = tuple(
                slice(before, length - after) for (before, after), length in zip(lacks, self.form.size, strict=True)
            )
            for channel, values in enumerate(view):
                out = out_CDHW[number]
                if self.form.control is None:
                    out[inside] = values
                    self._window(out, stored, channel)
                else:
                    out[inside] = 0.5 if self.form.control == "constant" else draw.random(values.shape, np.float32)
                if any(map(any, lacks)):
                    self._pad(out, inside, lacks)
                number += 1

    def _window(self, out: NDArray[np.float32], stored: Stored, channel: int) -> None:
        """Turn stored values into 0..1, in place, also beyond the volume: one block is quicker than rows."""
        low, high = self.form.window or (stored.low[channel], stored.high[channel])
        times = 1 / (high - low) if high > low else 0.0
        out *= np.float32(stored.scale[channel] * times)
        out += np.float32((stored.offset[channel] - low) * times)
        np.clip(out, 0, 1, out=out)

    def _pad(self, out: NDArray[np.float32], inside: tuple[slice, ...], lacks: Sequence[tuple[int, int]]) -> None:
        """Fill what lies beyond the volume."""
        if self.form.padding in PAD_MODES:
            out[:] = np.pad(out[inside], lacks, PAD_MODES[self.form.padding])  # type: ignore[call-overload]
            return
        for axis, (before, after) in enumerate(lacks):
            along = np.moveaxis(out, axis, 0)
            along[:before] = 0
            along[len(along) - after :] = 0

    def share(self, start: Zyx) -> float:
        """Measure how much of a patch the mask marks."""
        if self.mask is None:
            return 0.0
        return float(np.count_nonzero(cut(self.mask[None], start, self.form.size)[0]) / np.prod(self.form.size))

    def is_marked(self, start: Zyx) -> bool:
        """Tell whether this is a patch of what the mask marks."""
        share = self.share(start)
        return share > 0 and share >= self.form.min_share

    def random_starts(self, draw: np.random.Generator) -> list[Zyx]:
        """Draw where training looks this time."""
        form, case = self.form, self.case
        if form.center != "none":
            offs = draw.uniform(-form.jitter, form.jitter, (form.per_volume, 3))
            return [around(case.centre(form.center), case.shape, form.size, off) for off in offs]
        marked = case.mask is not None and case.mask.marked > 0
        wanted = int(form.foreground_share * form.per_volume + draw.random()) if marked else 0
        starts = self._marked(draw, wanted)
        return starts + [self._background(draw) for _ in range(form.per_volume - wanted)]

    def _marked(self, draw: np.random.Generator, count: int) -> list[Zyx]:
        """Draw patches around marked voxels at random."""
        if not count:
            return []
        assert self.case.mask is not None and self.mask is not None
        box = self.case.mask.box
        within = self.mask[tuple(slice(*ends) for ends in box)]
        chosen = draw.choice(np.flatnonzero(within), count)
        points = np.stack(np.unravel_index(chosen, within.shape), 1) + [low for low, _ in box]
        offs = draw.uniform(-OFF, OFF, (count, 3))
        return [around(p, self.case.shape, self.form.size, off) for p, off in zip(points, offs, strict=True)]

    def _background(self, draw: np.random.Generator) -> Zyx:
        """Draw a patch anywhere; where the mask labels patches, one without a finding if that can be had."""
        for _ in range(TRIES if self.form.label == "mask" else 1):
            region = self.case.region(self.form.crop)
            start = anywhere(draw, self.case.shape, region, self.form.size, self.form.beyond)
            if self.form.label != "mask" or not self.is_marked(start):
                break
        return start


class TrainingPatches(Dataset[Batch]):
    """Take cases by position; a visit gives `per_volume` random patches.

    Args:
        cases: their files.
        rows: the row number in `cases` of the data module of each.
        y: labels as they stand in a batch, a row a case.
        seed: of the run.
    """

    def __init__(self, cases: Sequence[Case], rows: NDArray[np.int64], y: Tensor, form: PatchForm, seed: int) -> None:
        self.cases, self.rows, self.y, self.form, self.seed = list(cases), rows.tolist(), y, form, seed

    def __len__(self) -> int:
        return len(self.cases)

    def __getitems__(self, visits: Sequence[tuple[int, int, int]]) -> Batch:
        """Give x (B, C, D, H, W) float32 in 0..1, y, case, draw, instance, visit, of visits (position, draw, epoch)."""
        number = self.form.per_volume
        x = np.zeros((len(visits) * number, self.cases[0].channels, *self.form.size), np.float32)
        y = self.y[[position for position, _, _ in visits]].repeat_interleave(number, 0)
        for n, (position, drawn, epoch) in enumerate(visits):
            draw = stream(self.seed, "patches", epoch, self.rows[position], drawn)
            visit = Visit(self.cases[position], self.form)
            for patch, start in enumerate(visit.random_starts(draw), start=n * number):
                visit.patch(start, x[patch], draw)
                if self.form.label == "mask":
                    y[patch] = float(visit.is_marked(start))
        case_V, first_V = torch.tensor([(self.rows[position], drawn * number) for position, drawn, _ in visits]).T
        visit_B, instance_B = (
            torch.arange(len(visits)).repeat_interleave(number),
            torch.arange(number).repeat(len(visits)),
        )
        # in one piece, as what a worker hands over costs by the piece
        numbers_4B = torch.stack([case_V[visit_B], first_V[visit_B] + instance_B, instance_B, visit_B])
        named = dict(zip(("case", "draw", "instance", "visit"), numbers_4B, strict=True))
        return {"x": torch.from_numpy(x), "y": y} | named


class GridPatches(Dataset[Batch]):
    """List all patches of all cases, one after the other: what a case is judged by.

    Args:
        y: as of `TrainingPatches`; None without labels.
    """

    def __init__(self, cases: Sequence[Case], rows: NDArray[np.int64], y: Tensor | None, form: PatchForm) -> None:
        self.cases, self.rows, self.y, self.form = list(cases), rows.tolist(), y, form
        self.starts = [grid_of(case, form) for case in self.cases]
        counts = [int(np.prod([len(axis) for axis in starts])) for starts in self.starts]
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.first[-1])

    def start(self, position: int, instance: int) -> Zyx:
        """Say where a patch of the case at `position` begins, in its resampled voxels."""
        starts = self.starts[position]
        index = np.unravel_index(instance, [len(axis) for axis in starts])
        z, y, x = (int(axis[n]) for axis, n in zip(starts, index, strict=True))
        return z, y, x

    def __getitems__(self, patches: Sequence[int]) -> Batch:
        """Give x, case, instance and y, as of `TrainingPatches`."""
        position = np.searchsorted(self.first, patches, side="right") - 1
        instance = np.asarray(patches) - self.first[position]
        x = np.zeros((len(patches), self.cases[position[0]].channels, *self.form.size), np.float32)
        for here in np.unique(position).tolist():
            visit = Visit(self.cases[here], self.form)
            for n in np.flatnonzero(position == here).tolist():
                draw = stream(0, "control", self.rows[here], int(instance[n]))
                visit.patch(self.start(here, int(instance[n])), x[n], draw)
        batch = {
            "x": torch.from_numpy(x),
            "case": torch.tensor([self.rows[here] for here in position.tolist()]),
            "instance": torch.from_numpy(instance),
        }
        return batch if self.y is None else batch | {"y": self.y[position.tolist()]}
