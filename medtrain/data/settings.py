"""The data node of a configuration, key by key, to what the readers take; faults name the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.words import nearest
from medtrain.io.image_form import ImageForm
from medtrain.target import DataSpec

GREY = ((0.449,), (0.226,))  # the mean of ImageNet's three
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def choice(cfg: Mapping[str, Any], key: str, allowed: Sequence[str]) -> str:
    """Read a key that is one of a few words; the first is the default."""
    value = str(cfg.get(key) or allowed[0])
    if value not in allowed:
        raise UsageError(f"data.{key}={value} is none of {', '.join(allowed)}{nearest(value, allowed)}")
    return value


def learns_masks(cfg: Mapping[str, Any]) -> bool:
    """Tell whether the labels of a data node's cases are their masks (data.label_from, which the task sets)."""
    return cfg.get("label_from") == "mask"


def skips(cfg: Mapping[str, Any]) -> bool:
    """Tell whether bad rows are left out (data.on_bad=skip)."""
    return choice(cfg, "on_bad", ("error", "skip")) == "skip"


def case_column(cfg: Mapping[str, Any]) -> str | None:
    """Read data.columns.case, whose rows of one value are one case; None where nobody has named it."""
    name = (cfg.get("columns") or {}).get("case")
    return None if name is None or str(name).lower() == "none" else str(name)


def image_form(cfg: Mapping[str, Any], spec: DataSpec | None = None) -> ImageForm:
    """Read working size, channels, fit and window; a trained model's `spec` decides on the first two."""
    size, channels = cfg.get("image_size") or 224, cfg.get("channels") or 1
    if spec is not None:
        size, channels = spec.size, spec.channels
    window = cfg.get("window")
    if window is not None and (isinstance(window, str) or len(window) != 2):
        raise UsageError(f"data.window={window}: give two numbers, [low,high]")
    try:
        height, width = (size, size) if isinstance(size, int) else tuple(size)
        low_high = None if window is None else (float(window[0]), float(window[1]))
        return ImageForm((int(height), int(width)), int(channels), str(cfg.get("fit") or "pad"), low_high)
    except (ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"data.image_size={size} channels={channels} fit={cfg.get('fit')} window={window}: {error}"
        ) from None


def normalisation(cfg: Mapping[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Read data.mean and data.std, one value a channel in units of 0..1; by default ImageNet's."""
    default = IMAGENET if channels == 3 else tuple(values * channels for values in GREY)
    pair = []
    for key, usual in zip(("mean", "std"), default, strict=True):
        value = cfg.get(key)
        values = (
            usual if value is None else tuple(float(v) for v in (value if isinstance(value, Sequence) else [value]))
        )
        if len(values) != channels or (key == "std" and min(values) <= 0):
            raise UsageError(
                f"data.{key}={value}: give {channels} positive value(s), one a channel, for inputs in 0..1"
            )
        pair.append(values)
    return pair[0], pair[1]
