"""How patches are cut: the keys of the data node that say so, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.batches.patch_places import Zyx
from medtrain.data.settings import choice
from medtrain.io.volume import Triple
from medtrain.target import DataSpec

CENTERS = ("none", "volume", "foreground", "mask")
CONTROLS = ("constant", "noise")
PADDINGS = ("lowest", "edge", "mirror")
LABELS = ("case", "mask")


@dataclass(frozen=True)
class PatchForm:
    """Say what a patch is.

    Args:
        size, stride: in voxels along D, H, W.
        center: none (patches of a grid, in training at random), or where the one patch of a case lies: in the middle of
            the volume, of what is no background, or of the mask.
        crop: keep patches within the box of what is no background.
        jitter: share of its size by which a centred patch misses its centre in training, at most.
        window: values that become 0 and 1; None: the volume's own percentiles.
        padding: beyond the volume: the window's lowest value, the edge's, or the volume mirrored.
        control: replace what volumes show by a ``constant`` or by ``noise``; padding stays.
        per_volume: patches of a volume each time that training comes to it.
        foreground_share: of these, around a marked voxel, where the mask marks any.
        beyond: share of its size by which a random patch begins or ends beyond the edges, at most.
        label: a training patch has the label of its case, or says whether the mask marks ``min_share`` of it.
    """

    size: Zyx
    stride: Zyx
    center: str = "none"
    crop: bool = False
    jitter: float = 0.1
    window: tuple[float, float] | None = None
    padding: str = "lowest"
    control: str | None = None
    per_volume: int = 1
    foreground_share: float = 0.5
    beyond: float = 0.25
    label: str = "case"
    min_share: float = 0.001

    @property
    def wants_mask(self) -> bool:
        """Tell whether masks are of any use."""
        return self.center == "mask" or self.label == "mask" or (self.center == "none" and self.foreground_share > 0)


def spacing_of(cfg: Mapping[str, Any], spec: DataSpec | None = None) -> Triple | None:
    """Read data.spacing in mm along D, H, W; a trained model's `spec` decides."""
    if spec is not None:
        if spec.spacing is None:
            return None
        z, y, x = spec.spacing
        return z, y, x
    if cfg.get("spacing") is None:
        return None
    z, y, x = three(cfg, "spacing", "mm along D, H, W")
    return z, y, x


def patch_form(cfg: Mapping[str, Any], spec: DataSpec | None = None) -> PatchForm:
    """Read the patches that the data node asks for; a trained model's `spec` decides on their size.

    Raises:
        UsageError: naming the key.
    """
    size = _size(cfg) if spec is None else _voxels(spec.size)
    stride = size if cfg.get("stride") is None else _voxels(three(cfg, "stride", "voxels"))
    if any(step > length for step, length in zip(stride, size, strict=True)):
        raise UsageError(
            f"data.stride={cfg['stride']} is more than a patch of {' x '.join(map(str, size))}: voxels are lost"
        )
    window = cfg.get("window")
    if window is not None and (isinstance(window, str) or len(window) != 2 or not window[0] < window[1]):
        raise UsageError(f"data.window={window}: give two numbers, [low,high]")
    return PatchForm(
        size,
        stride,
        center=choice(cfg, "center", CENTERS),
        crop=bool(cfg.get("crop_foreground")),
        jitter=float(cfg.get("jitter") or 0),
        window=None if window is None else (float(window[0]), float(window[1])),
        padding=choice(cfg, "padding", PADDINGS),
        control=cfg["control"] if cfg.get("control") in CONTROLS else None,
        per_volume=int(cfg.get("patches_per_volume") or 1),
        foreground_share=float(cfg.get("foreground_share") or 0),
        beyond=float(cfg.get("beyond") or 0),  # runs that lack it go on as they began
        label=choice(cfg, "patch_label", LABELS),
        min_share=float(cfg.get("min_share") or 0),
    )


def _size(cfg: Mapping[str, Any]) -> Zyx:
    if cfg.get("fov") is None:
        return _voxels(three(cfg, "patch_size", "voxels"))
    spacing = spacing_of(cfg)
    if spacing is None:
        raise UsageError("data.fov is in mm, so it needs data.spacing; without it, give data.patch_size in voxels")
    z, y, x = (max(1, round(mm / step)) for mm, step in zip(three(cfg, "fov", "mm"), spacing, strict=True))
    return z, y, x


def three(cfg: Mapping[str, Any], key: str, unit: str) -> Triple:
    """Read a key that is one positive number or three, along D, H, W; UsageError otherwise."""
    value = cfg.get(key)
    values: list[Any] = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value] * 3
    try:
        z, y, x = (float(one) for one in values)
        if min(z, y, x) > 0:
            return z, y, x
    except (TypeError, ValueError):
        pass
    raise UsageError(f"data.{key}={value}: give one positive number or three, {unit}")


def _voxels(values: Sequence[float]) -> Zyx:
    z, y, x = (int(value) for value in values)
    return z, y, x
