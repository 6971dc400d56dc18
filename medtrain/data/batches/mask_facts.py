"""What is known of masks and images, by which patches are drawn and scaled: counted once, kept beside the voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.core.cores import cores
from medtrain.core.streams import stream
from medtrain.io.files import atomic_path
from medtrain.io.store.voxels import Stored
from medtrain.io.volume import Triple

VERSION = 1  # raise it when the same voxels give other facts
POINTS = 2000  # places of each label that are kept
HOLLOW = 0.25  # share of voxels at 0 from which on they are no tissue: images of which all but the body was cut away


@dataclass(frozen=True)
class MaskFacts:
    """What a mask marks.

    Args:
        label_L: the numbers that it holds, without 0, ascending.
        count_L: voxels of each.
        low_L3, high_L3: first and last + 1 voxel of each along D, H, W.
        point_P3: places of marked voxels, at most `POINTS` of each label.
        of_P: which of the labels each has, its position in `label_L`.
    """

    label_L: NDArray[np.int64]
    count_L: NDArray[np.int64]
    low_L3: NDArray[np.int64]
    high_L3: NDArray[np.int64]
    point_P3: NDArray[np.int32]
    of_P: NDArray[np.int32]


def mask_facts(masks: Sequence[Stored]) -> list[MaskFacts]:
    """Count what masks mark, or find it counted."""
    return [MaskFacts(**facts) for facts in _remembered(masks, _count)]


def moments(images: Sequence[Stored]) -> list[NDArray[np.float64]]:
    """Give mean and standard deviation of each channel, (C, 2), of each image; of hollow ones without voxels at 0."""
    return [facts["moment_C2"] for facts in _remembered(images, lambda image: {"moment_C2": moments_of(image)})]


def _remembered(files: Sequence[Stored], compute: Callable[[Stored], dict[str, NDArray]]) -> list[dict[str, NDArray]]:
    def one(stored: Stored) -> dict[str, NDArray]:
        memory = stored.file.parent.parent / f"facts_{VERSION}" / f"{stored.file.parent.name}_{stored.file.stem}.npz"
        facts = _load(memory)
        if facts is None:
            facts = compute(stored)
            with suppress(OSError), atomic_path(memory) as temporary, open(temporary, "wb") as out:
                np.savez(out, **facts)  # type: ignore[arg-type]  # whose stubs take each name for a flag
        return facts

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, files))


def _load(memory: Path) -> dict[str, NDArray] | None:
    try:
        with np.load(memory) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError):
        return None


def _count(mask: Stored) -> dict[str, NDArray]:
    """Count labels, and draw places of each, the same whenever it is done."""
    low = np.array([first for first, _ in mask.box])
    within = mask.mapped()[0][tuple(slice(*ends) for ends in mask.box)]
    place_M = np.flatnonzero(within)
    value_M = within.ravel()[place_M] if within.flags.c_contiguous else within[np.unravel_index(place_M, within.shape)]
    label_L, count_L = np.unique(value_M, return_counts=True)
    lows, highs, points, of = [], [], [], []
    for position, label in enumerate(label_L.tolist()):
        own = place_M[value_M == label]
        where_M3 = np.stack(np.unravel_index(own, within.shape), 1) + low
        lows.append(where_M3.min(0))
        highs.append(where_M3.max(0) + 1)
        few = own if len(own) <= POINTS else stream(0, "points", label).choice(len(own), POINTS, replace=False)
        points.append(where_M3 if len(own) <= POINTS else where_M3[np.sort(few)])
        of.append(np.full(len(points[-1]), position))
    return {
        "label_L": label_L.astype(np.int64),
        "count_L": count_L.astype(np.int64),
        "low_L3": np.array(lows, np.int64).reshape(-1, 3),
        "high_L3": np.array(highs, np.int64).reshape(-1, 3),
        "point_P3": np.concatenate(points).astype(np.int32) if points else np.empty((0, 3), np.int32),
        "of_P": np.concatenate(of).astype(np.int32) if of else np.empty(0, np.int32),
    }


def moments_of(image: Stored) -> NDArray[np.float64]:
    """Measure mean and deviation of each channel, plane by plane, in the image's own units."""
    rows = []
    for channel, scale, offset in zip(image.mapped(), image.scale, image.offset, strict=True):
        zero = round(-offset / scale)  # as stored
        hollow = sum(int(np.count_nonzero(plane == zero)) for plane in channel) >= HOLLOW * channel.size
        number, total, squares = 0, 0.0, 0.0
        for plane in channel:
            values = plane[plane != zero].astype(np.float64) if hollow else plane.astype(np.float64)
            number, total, squares = number + values.size, total + values.sum(), squares + float((values**2).sum())
        mean = total / max(1, number)
        deviation = np.sqrt(max(0.0, squares / max(1, number) - mean**2))
        rows.append((mean * scale + offset, deviation * scale))
    return np.array(rows)


def own_scale(moment_C2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make low, high, mean and deviation of a case that is standardised by itself: nothing is clipped."""
    mean_C, std_C = moment_C2.T
    return np.stack([np.full_like(mean_C, -np.inf), np.full_like(mean_C, np.inf), mean_C, np.maximum(std_C, 1e-8)], 1)


def has_spacing(image: Stored, spacing: Triple) -> bool:
    """Tell whether an image is at a spacing, to a thousandth."""
    return bool(np.allclose(image.spacing, spacing, rtol=1e-3))
