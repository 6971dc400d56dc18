"""How large batches, patches, films and boxes are, or may be: what several rules of the flowchart ask."""

from __future__ import annotations

import math

import numpy as np

from medtrain.planning.facts import Facts
from medtrain.planning.limits import (
    FEW_TIMES,
    LEAST_BATCH,
    MANY_PATCHES,
    PATCH,
    PATCH_BATCH,
    SIZES,
    SMALL,
    SMALLEST_BOX,
    WHOLE,
)


def small(facts: Facts) -> bool:
    """Tell whether films are so small that networks should see them at full resolution."""
    return len(facts.size) == 2 and min(facts.size) <= SMALL


def smallest_box(facts: Facts) -> float:
    """Give the side, in pixels of the files, below which one box in twenty lies."""
    return float(np.percentile(np.sqrt(np.prod(np.array(facts.boxes), axis=1)), 5))


def box_side(facts: Facts) -> int:
    """Choose the longest side of images with boxes, so that the smallest lesions are as large as detectors need."""
    side, most = max(facts.size), 1024 if facts.machine.gpu else 512
    wanted = side * SMALLEST_BOX / max(smallest_box(facts), 1e-9)
    size = next((size for size in SIZES if size >= max(128, min(wanted, side, most))), most)
    return min(size, math.ceil(side / 32) * 32)


def box_pixels(facts: Facts) -> float:
    """Give how large the smallest lesions are in the network's input; 0 where there are none."""
    if not len(facts.boxes) or len(facts.size) != 2:
        return 0.0
    return smallest_box(facts) * box_side(facts) / max(facts.size)


def by_intervals(facts: Facts) -> bool:
    """Tell whether there are events enough to learn times by intervals, rather than by the risk sets of a batch."""
    return facts.events_to_learn >= FEW_TIMES


def telling(facts: Facts) -> str:
    """Say which extent alone tells the classes apart and how well, '' where none does."""
    return next((name for name in facts.giveaways if name.startswith(("the extent", "the size"))), "")


def patch_size(facts: Facts) -> list[int]:
    """Give the sides of patches no larger than most volumes are, in whole steps of 8 voxels; or those that are set."""
    if as_a_whole(facts):
        return [eights(mm / step) for mm, step in zip(facts.usual_extent, coarser(facts), strict=True)]
    return own_patch(facts)


def own_patch(facts: Facts) -> list[int]:
    """Give the sides of patches at the spacing that volumes have, or those that are set."""
    return list(facts.patch) or [min(PATCH, eights(n)) for n in facts.size]


def eights(side: float) -> int:
    """Round a side up to whole steps of 8 voxels."""
    return max(8, 8 * math.ceil(round(side, 2) / 8))


def patches(facts: Facts) -> int:
    """Count the patches by which a case is judged, at its own spacing."""
    return math.prod(math.ceil(n / side) for n, side in zip(facts.size, own_patch(facts), strict=True))


def as_a_whole(facts: Facts) -> bool:
    """Tell whether volumes are so many patches that they are better seen as a whole, in coarser voxels."""
    measured = len(facts.size) == len(facts.usual_extent) == len(facts.spacing) == 3
    free = not (facts.patch or facts.spaced or facts.centred or telling(facts))
    return measured and free and patches(facts) >= MANY_PATCHES


def coarser(facts: Facts) -> list[float]:
    """Give the spacing in mm at which nine in ten volumes are seen as a whole, no finer than their own."""
    side = WHOLE[bool(facts.machine.gpu)]
    wanted = [max(own, mm / side) for own, mm in zip(facts.spacing, facts.usual_extent, strict=True)]
    return [math.ceil(100 * mm) / 100 for mm in wanted]


def batch_size(facts: Facts) -> int:
    """Count the cases of a process's batch: as many as leave an epoch sixteen steps; fewer of large patches."""
    if facts.batch:
        return facts.batch
    size = 8 if len(facts.boxes) else 64 if small(facts) else 32
    if facts.volumes and not facts.encoded:
        room = max(PATCH_BATCH[0], PATCH_BATCH[0] * PATCH**3 // math.prod(patch_size(facts)))
        size = PATCH_BATCH[1] if telling(facts) else 2 ** int(math.log2(min(room, PATCH_BATCH[1])))
    least = LEAST_BATCH // 2 if len(facts.boxes) else LEAST_BATCH
    by_risk_sets = bool(facts.events) and not by_intervals(facts)  # which are those of a batch
    while size > least and facts.train / (size * facts.machine.processes) < 16 and not by_risk_sets:
        size //= 2
    return size


def step_size(facts: Facts) -> int:
    """Count the cases of a step: a batch of each process."""
    return batch_size(facts) * facts.machine.processes


def film_network(facts: Facts) -> str:
    """Name the network for films."""
    return "densenet121" if facts.machine.gpu and not small(facts) and facts.train >= 500 else "resnet18"
