"""The plan of a segmentation: from what the training cases are like to spacing, intensities, patches, strides, batch.

The rules are nnU-Net's (Isensee et al., Nature Methods 2021, supplementary note 6) but for three: stages are added
while an axis keeps `COARSEST` voxels, not 4; memory is counted for the network of `data.memory_gb`, not looked up; and
a batch leaves an epoch `STEPS` steps at least. A key of the data node that is set stands as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.augment import MIRRORS
from medtrain.core.errors import UsageError
from medtrain.data.batches.patch_form import three

Zyx = tuple[int, int, int]
Triple = tuple[float, float, float]

ANISOTROPIC = 3.0  # times the other spacings, from which on slices count as thick
THICK = 10  # percentile of thick slices' spacing that is taken: most files would be blurred by the median
COARSEST = 6  # voxels that an axis keeps in the last stage
MOST_STAGES = 6
BASE, MOST_FEATURES = 32, 320
"""Features of the first stage, where data.features does not say, doubled from stage to stage; and at most."""
KEPT = 2 * 2 * 3  # blocks a stage on either side, convolutions a block, what each keeps: its output, norm, activation
PART = 0.05  # of all training voxels that a batch holds at most
STEPS = 100  # that an epoch has at least, where there are patches enough
LARGEST_BATCH = 16
PATCHES = 250  # that an epoch has at least
MOST_VISITS = 16
FOREGROUND = 0.33
WHOLE = 192**3  # voxels of the largest patch


@dataclass(frozen=True)
class Fingerprint:
    """What the training cases are like, in their files' own voxels along D, H, W.

    Args:
        shape_N3: voxels of each.
        spacing_N3: mm a voxel.
        intensity_C4: of what masks mark in all cases, a channel each: percentiles 0.5 and 99.5, mean and standard
            deviation; None where nothing is marked.
        directed: axes along which labels stand in one order.
        hounsfield: do values look like Hounsfield units, whole numbers down to air?
    """

    shape_N3: NDArray[np.int64]
    spacing_N3: NDArray[np.float64]
    intensity_C4: NDArray[np.float64] | None = None
    hounsfield: bool = False
    directed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a fingerprint makes of a segmentation.

    Args:
        spacing: mm a voxel along D, H, W at which a network works.
        intensity: low, high, mean, standard deviation a channel: clipped and standardised by the set; empty: each case
            is standardised by itself.
        patch_size: voxels along D, H, W.
        strides: of each stage; the first does not shrink.
        batch_size: patches of a batch.
        visits: patches of each case in an epoch.
        foreground_share: share of patches around a marked voxel.
        directed: axes along which labels stand in one order.
        why: a few words on each, by key.
    """

    spacing: Triple
    intensity: tuple[tuple[float, float, float, float], ...]
    patch_size: Zyx
    strides: tuple[Zyx, ...]
    batch_size: int
    visits: int
    foreground_share: float
    directed: tuple[int, ...] = ()
    why: dict[str, str] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str]]:
        """List key, value and reason of each part, for a table."""
        shown = {
            "spacing": f"{_by(self.spacing)} mm",
            "modality": "ct" if self.intensity else "other",
            "patch_size": f"{_by(self.patch_size)} voxels",
            "strides": f"{len(self.strides)} stages: " + ", ".join(_by(stride) for stride in self.strides[1:]),
            "batch_size": str(self.batch_size),
            "patches_per_volume": str(self.visits),
            "foreground_share": f"{self.foreground_share:g}",
        }
        rows = [(f"data.{key}", value, self.why.get(key, "")) for key, value in shown.items()]
        why = "labels stand in one order along it, so a mirror image is no case (true mirrors)"
        return rows + [(f"augment.{MIRRORS[axis]}", "false", why) for axis in self.directed]

    def text(self) -> str:
        """Write the table as people read it."""
        rows = self.rows()
        wide = [max(len(row[n]) for row in rows) for n in (0, 1)]
        lines = [f"  {key:<{wide[0]}}  {value:<{wide[1]}}  {why}".rstrip() for key, value, why in rows]
        return "\n".join(["the plan, from the training cases (a key that is set stands):", *lines])


def plan(fingerprint: Fingerprint, cfg: Mapping[str, Any]) -> Plan:
    """Plan a segmentation.

    Args:
        cfg: the data node: spacing, modality, window, patch_size, strides, batch_size, patches_per_volume,
            foreground_share, memory_gb, features; what is null is planned.

    Raises:
        UsageError: a key that can't be.
    """
    why: dict[str, str] = {}
    spacing = planned_spacing(fingerprint, cfg, why)
    intensity = _intensity(fingerprint, cfg, why)
    shapes = fingerprint.shape_N3 * fingerprint.spacing_N3 / np.array(spacing)
    shape = np.maximum(1, np.median(shapes, axis=0).round()).astype(np.int64)
    channels = 1 if fingerprint.intensity_C4 is None else len(fingerprint.intensity_C4)
    memory = float(cfg.get("memory_gb") or 8) * 1e9
    patch, strides = _patch(shape, spacing, cfg, memory, channels, why)
    cases = len(fingerprint.shape_N3)
    visits = _visits(cfg, cases, why)
    batch = _batch(patch, strides, cfg, memory, cases * visits, float(shapes.prod(1).sum()), why)
    patches = cases * visits
    why["patches_per_volume"] += f"; an epoch is {patches:,} patches in {-(-patches // batch):,} steps"
    share = cfg.get("foreground_share")
    why["foreground_share"] = "as set" if share is not None else "a third, as nnU-Net has it; of each class alike"
    return Plan(
        spacing,
        intensity,
        patch,
        strides,
        batch,
        visits,
        FOREGROUND if share is None else float(share),
        fingerprint.directed,
        why,
    )


def planned_spacing(fingerprint: Fingerprint, cfg: Mapping[str, Any], why: dict[str, str]) -> Triple:
    """Choose the spacing: the median; of thick slices their 10th percentile, but no finer than the others' axes."""
    if cfg.get("spacing") is not None:
        why["spacing"] = "as set"
        return three(cfg, "spacing", "mm along D, H, W")
    spacing = np.median(fingerprint.spacing_N3, axis=0)
    shape = np.median(fingerprint.shape_N3 * fingerprint.spacing_N3 / spacing, axis=0)
    why["spacing"] = "the median"
    thick = int(np.argmax(spacing))
    others = [axis for axis in range(3) if axis != thick]
    if spacing[thick] > ANISOTROPIC * spacing[others].max() and shape[thick] * ANISOTROPIC < shape[others].min():
        finest = float(np.percentile(fingerprint.spacing_N3[:, thick], THICK))
        spacing[thick] = max(finest, float(spacing[others].max()))
        why["spacing"] = f"the median; of the thick slices (axis {'DHW'[thick]}) the {THICK}th percentile"
    if (np.abs(fingerprint.spacing_N3 / spacing - 1) < 1e-3).all():
        why["spacing"] += ", which all cases have"
    z, y, x = (float(f"{step:.6g}") for step in spacing)
    return z, y, x


def _intensity(
    fingerprint: Fingerprint, cfg: Mapping[str, Any], why: dict[str, str]
) -> tuple[tuple[float, float, float, float], ...]:
    """Choose how values are scaled: by the set where they are Hounsfield units, else each case by itself."""
    modality = cfg.get("modality")
    guess = "" if modality else ", guessed from the values (data.modality=ct or other says it)"
    if (modality or ("ct" if fingerprint.hounsfield else "other")) != "ct":
        if cfg.get("window") is not None:
            raise UsageError(
                f"data.window={cfg['window']} is of Hounsfield units, and each case is scaled by its own values here: "
                "set data.modality=ct, or leave it out"
            )
        why["modality"] = f"each case by its own mean and deviation{guess}"
        return ()
    if fingerprint.intensity_C4 is None:
        raise UsageError("data.modality=ct scales values by what masks mark, and no training case marks anything")
    given = cfg.get("window")
    rows = []
    for low, high, mean, std in fingerprint.intensity_C4.tolist():
        ends = (low, high) if given is None else (float(given[0]), float(given[1]))
        rows.append((*ends, mean, std if std > 0 else 1.0))
    low, high, mean, std = rows[0]
    by = "0.5th and 99.5th percentile of what masks mark" if given is None else "data.window"
    why["modality"] = f"clipped to {low:.4g} to {high:.4g} ({by}), mean {mean:.4g}, deviation {std:.4g}{guess}"
    return tuple(rows)


def strides_of(patch: Sequence[int], spacing: Sequence[float]) -> tuple[Zyx, ...]:
    """Shrink by 2, stage by stage, along the axes that stay long enough and are not thicker than twice the finest."""
    size, step = [float(n) for n in patch], [float(mm) for mm in spacing]
    strides: list[Zyx] = [(1, 1, 1)]
    while len(strides) < MOST_STAGES:
        able = [n / 2 >= COARSEST for n in size]
        if not any(able):
            break
        finest = min(mm for mm, may in zip(step, able, strict=True) if may)
        z, y, x = (2 if may and mm < 2 * finest else 1 for mm, may in zip(step, able, strict=True))
        strides.append((z, y, x))
        size = [n / s for n, s in zip(size, strides[-1], strict=True)]
        step = [mm * s for mm, s in zip(step, strides[-1], strict=True)]
    if len(strides) == 1:  # a U-Net has two
        z, y, x = (2 if n > 1 else 1 for n in patch)
        strides.append((z, y, x))
    return tuple(strides)


def divisors(strides: Sequence[Zyx]) -> Zyx:
    """Multiply the strides of each axis: what its length must be a multiple of."""
    z, y, x = (int(n) for n in np.prod(np.array(strides), axis=0))
    return z, y, x


def kept_bytes(patch: Sequence[int], strides: Sequence[Zyx], features: int = BASE) -> float:
    """Estimate what training keeps of one patch, in bytes of 32-bit numbers.

    Args:
        features: of the first stage.
    """
    size, total = np.array(patch, float), 0.0
    for stage, stride in enumerate(strides):
        size = size / np.array(stride)
        total += float(size.prod()) * min(MOST_FEATURES, features * 2**stage) * KEPT
    return 4 * total


def _features(cfg: Mapping[str, Any]) -> int:
    """Read how many features the first stage of the network has."""
    return int(cfg.get("features") or BASE)


def _patch(
    shape: NDArray[np.int64],
    spacing: Triple,
    cfg: Mapping[str, Any],
    memory: float,
    channels: int,
    why: dict[str, str],
) -> tuple[Zyx, tuple[Zyx, ...]]:
    """Choose patch and strides: the median case, or as much of it as two patches leave memory for."""
    if cfg.get("patch_size") is not None:
        z, y, x = (int(n) for n in three(cfg, "patch_size", "voxels"))
        strides = _given_strides(cfg, why) or strides_of((z, y, x), spacing)
        why["patch_size"] = "as set"
        why.setdefault("strides", f"by 2 while an axis keeps {COARSEST} voxels")
        lacking = [n % d for n, d in zip((z, y, x), divisors(strides), strict=True)]
        if any(lacking):
            raise UsageError(
                f"data.patch_size={[z, y, x]}: its axes must be multiples of {list(divisors(strides))}, by which the "
                "network shrinks them; give such, or fewer data.strides"
            )
        return (z, y, x), strides
    size = np.minimum(shape, _isotropic(spacing, shape))
    given = _given_strides(cfg, why)
    cut = bool((size < shape).any())
    while True:
        strides = given or strides_of(size.tolist(), spacing)
        patch = np.ceil(size / np.array(divisors(strides))).astype(int) * np.array(divisors(strides))
        if 2 * kept_bytes(patch, strides, _features(cfg)) <= memory or size.max() <= 2 * COARSEST:
            break
        longest = int(np.argmax(size / shape))
        size[longest] = max(COARSEST, int(size[longest] * 0.9))
        cut = True
    why.setdefault("strides", f"by 2 while an axis keeps {COARSEST} voxels")
    median = f"the median case, {_by(shape.tolist())}"
    why["patch_size"] = f"{f'what memory_gb={memory / 1e9:g} takes of {median}' if cut else median}, made divisible"
    return (int(patch[0]), int(patch[1]), int(patch[2])), strides


def _isotropic(spacing: Triple, shape: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the largest patch, as long in mm along each axis as can be."""
    size = np.minimum(1 / np.array(spacing) * (WHOLE * np.prod(spacing)) ** (1 / 3), shape)
    return np.maximum(1, size.round()).astype(np.int64)


def _given_strides(cfg: Mapping[str, Any], why: dict[str, str]) -> tuple[Zyx, ...] | None:
    """Read data.strides: three numbers a stage, or one."""
    if not cfg.get("strides"):
        return None
    strides: list[Zyx] = []
    for stage in cfg["strides"]:
        three_of = list(stage) if isinstance(stage, Sequence) and not isinstance(stage, str) else [stage] * 3
        if len(three_of) != 3 or any(step not in (1, 2, 3, 4) for step in three_of):
            raise UsageError(f"data.strides={cfg['strides']}: give for each stage one number of 1 to 4, or three")
        strides.append((int(three_of[0]), int(three_of[1]), int(three_of[2])))
    if len(strides) < 2:
        raise UsageError(f"data.strides={cfg['strides']}: a network has two stages or more, such as [1,2]")
    if strides[0] != (1, 1, 1):
        raise UsageError(f"data.strides={cfg['strides']}: the first stage keeps its size, [1,1,1]")
    why["strides"] = "as set"
    return tuple(strides)


def _batch(
    patch: Zyx,
    strides: Sequence[Zyx],
    cfg: Mapping[str, Any],
    memory: float,
    patches: int,
    voxels: float,
    why: dict[str, str],
) -> int:
    if cfg.get("batch_size") is not None:
        why["batch_size"] = "as set"
        return int(cfg["batch_size"])
    limits = {
        f"memory_gb={memory / 1e9:g}": int(memory / kept_bytes(patch, strides, _features(cfg))),
        f"{PART:.0%} of all training voxels": int(PART * voxels / np.prod(patch)),
        f"{STEPS} steps an epoch": patches // STEPS,
        "the largest that is planned": LARGEST_BATCH,
    }
    least = min(limits, key=lambda name: limits[name])
    why["batch_size"] = f"by {least}" if limits[least] >= 2 else "the smallest"
    return max(2, limits[least])


def _visits(cfg: Mapping[str, Any], cases: int, why: dict[str, str]) -> int:
    if cfg.get("patches_per_volume") is not None:
        why["patches_per_volume"] = "as set"
        return int(cfg["patches_per_volume"])
    visits = int(np.clip(np.ceil(PATCHES / max(1, cases)), 1, MOST_VISITS))
    enough = visits * cases >= PATCHES
    why["patches_per_volume"] = f"for {PATCHES} of {cases:,} cases" if enough else "the most that is planned"
    return visits


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
