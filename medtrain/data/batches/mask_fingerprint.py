"""The fingerprint of cases with masks, by which a segmentation is planned."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medtrain.data.batches.mask_facts import MaskFacts
from medtrain.data.batches.mask_plan import Fingerprint
from medtrain.data.batches.patches import Case
from medtrain.io.store.voxels import Stored

AIR = -500.0  # Hounsfield units: a CT has voxels below, and hardly any other volume
LOOKED = 32  # cases whose darkest voxels are looked for
APART, ORDERED, FEWEST = 0.5, 0.9, 5  # deviations, share of the cases in one order less those in the other, cases
STEP = 4  # of the voxels that are looked at, along each axis


def fingerprint_of(cases: Sequence[Case], facts: Sequence[MaskFacts], label_of: NDArray[np.int64]) -> Fingerprint:
    """Describe cases in their files' own voxels, as planning wants it.

    Args:
        facts: of the mask of each.
        label_of: what each number of a mask is in a batch (`labels_in_batches`).
    """
    images = [case.images[0] for case in cases]
    values = [_marked_values(case, own, label_of) for case, own in zip(cases, facts, strict=True)]
    pooled = np.concatenate(values, 1) if values else np.empty((0, 0))
    intensity = None
    if pooled.size:
        ends = np.percentile(pooled, (0.5, 99.5), axis=1)
        intensity = np.stack([*ends, pooled.mean(1), pooled.std(1)], 1)
    shape_N3 = np.array([image.shape[1:] for image in images], np.int64).reshape(-1, 3)
    spacing_N3 = np.array([image.spacing for image in images]).reshape(-1, 3)
    return Fingerprint(shape_N3, spacing_N3, intensity, in_hounsfield(images), directed_axes(facts, label_of))


def directed_axes(facts: Sequence[MaskFacts], label_of: NDArray[np.int64]) -> tuple[int, ...]:
    """List the axes along which two labels stand apart in one order in nearly all cases: head and tail, left and right.

    Apart are those whose centres differ by more than half the sum of their deviations.
    """
    steps: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
    for own in facts:
        places = {int(label_of[label]): own.point_P3[own.of_P == n] for n, label in enumerate(own.label_L.tolist())}
        middles = {label: (p.mean(0), p.std(0)) for label, p in sorted(places.items()) if label > 0 and len(p)}
        for (a, (centre, spread)), (b, (other, wide)) in itertools.combinations(middles.items(), 2):
            apart = np.abs(other - centre) > APART * (spread + wide)
            steps.setdefault((a, b), []).append((np.sign(other - centre) * apart).astype(np.int64))
    enough = [np.array(pair) for pair in steps.values() if len(pair) >= FEWEST]
    orders = [np.abs(pair_N3.sum(0)) >= ORDERED * len(pair_N3) for pair_N3 in enough]
    return tuple(axis for axis in range(3) if any(order_3[axis] for order_3 in orders))


def in_hounsfield(images: Sequence[Stored]) -> bool:
    """Tell whether values are whole and reach down to air."""
    if not images or not all("int" in image.source.dtype for image in images):
        return False
    darkest = [float(image.mapped()[0, ::STEP, ::STEP, ::STEP].min()) for image in images[:LOOKED]]
    lows = [low * image.scale[0] + image.offset[0] for low, image in zip(darkest, images, strict=False)]
    return float(np.median(lows)) < AIR


def _marked_values(case: Case, facts: MaskFacts, label_of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give (C, P) values at places that a mask marks as a label."""
    learned = [n for n, label in enumerate(facts.label_L.tolist()) if label < len(label_of) and label_of[label] > 0]
    z, y, x = facts.point_P3[np.isin(facts.of_P, learned)].T
    channels = [
        channel[z, y, x] * scale + offset
        for image in case.images
        for channel, scale, offset in zip(image.mapped(), image.scale, image.offset, strict=True)
    ]
    return np.array(channels, np.float64)
