"""What is told of cases with masks, and which keys of their data node would do nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.batches.patches import Case
from medtrain.data.leakage import disagree, others, repeated
from medtrain.io.volume import Triple
from medtrain.target.mask import MaskTarget

OF_LABELS = {
    **dict.fromkeys(("stride", "fov", "mean", "std", "control", "positive", "covariates", "covariate_kinds")),
    "crop_foreground": False,
    "patch_label": "case",
    "padding": "lowest",
    "jitter": 0.1,
    "min_share": 0.001,
    "beyond": 0.25,
    "center": "none",
}
"""Keys of volumes with a label each, and what they are where nobody has set them: a segmentation plans its patches."""

FINER = 1.1  # times the spacing of files, from which on a working one is told to be coarser


def absent(shown: Mapping[str, NDArray[np.float64]], names: Mapping[str, Any], classes: Sequence[str]) -> list[Problem]:
    """Warn of classes that no training case shows, and of cases of validation and test whose mask is empty.

    Args:
        shown: of each split, (N, C), 1 where a case shows a class.
        names: of each split, of its cases.
    """
    warnings = [
        Problem("absent_class", "train", f"no training case shows {name!r}: it can't be learned", "warning")
        for name, count in zip(classes, shown["train"].sum(0).tolist(), strict=True)
        if not count
    ]
    for split in ("val", "test"):
        empty = np.flatnonzero(~shown[split].any(1))
        if len(empty):
            detail = (
                f"{len(empty):,} of {len(shown[split]):,} cases have a mask that marks no class, the first "
                f"{list(names[split])[int(empty[0])]}: nothing predicted there is right, and their Dice is left out"
            )
            warnings.append(Problem("empty_mask", split, detail, "warning"))
    return warnings


def refuse_all_empty(shown_NC: NDArray[np.float64], classes: Sequence[str]) -> None:
    """Refuse training cases of which no mask marks anything (DataError).

    Args:
        shown_NC: of the training cases, 1 where a case shows a class.
    """
    if not shown_NC.any():
        raise DataError(
            f"no mask of the {len(shown_NC):,} training cases marks {' or '.join(classes)}: there is nothing to learn"
        )


def other_masks(
    cases: Sequence[Case | None], content_N: NDArray[np.int64], shown_NC: NDArray[np.float64], where: Sequence[str]
) -> list[Problem]:
    """Warn of cases with one image and different masks that show the same classes; of others it is told anyway.

    Args:
        content_N: the same number for cases with the same image.
        shown_NC: 1 where a case shows a class.
    """
    problems = []
    for rows in repeated(content_N):
        masks = {mask.identity for row in rows if (case := cases[row]) is not None and (mask := case.mask) is not None}
        if len(masks) > 1 and not disagree(shown_NC[rows]):
            detail = f"the same content as {others(where, rows)}, but another mask"
            problems.append(Problem("label_conflict", where[rows[0]], detail, "warning"))
    return problems


def coarser(spacing_N3: NDArray[np.float64], spacing: Triple) -> list[Problem]:
    """Warn of training cases whose voxels are finer than those at which the network works, by a tenth or more."""
    finer = np.asarray((spacing_N3 < np.array(spacing) / FINER).any(1))
    if not finer.any():
        return []
    finest, planned = (" x ".join(f"{mm:.4g}" for mm in of) for of in (spacing_N3.min(0), spacing))
    detail = (
        f"{int(finer.sum()):,} of {len(finer):,} training cases have finer voxels, down to {finest} mm, than the "
        f"{planned} mm at which the network works: what is smaller is averaged away; data.spacing sets another"
    )
    return [Problem("coarser_spacing", "data.spacing", detail, "warning")]


def summed(target: MaskTarget) -> list[Problem]:
    """Warn of regions that are not nested, and say what a label map has of them."""
    if target.layout != "summed":
        return []
    numbers = ", ".join(f"{1 << place} ({name})" for place, name in enumerate(target.classes))
    detail = f"a region is not within the one before, so each voxel of a label map has the sum of {numbers}"
    return [Problem("overlapping_regions", "data.regions", detail, "warning")]


def refuse_unused(cfg: Mapping[str, Any], synthetic: bool) -> None:
    """Refuse keys of the data node that would do nothing (UsageError); phantoms look at their middle otherwise."""
    for key, usual in OF_LABELS.items():
        value = cfg.get(key, usual)
        if value != usual and not (synthetic and key == "center"):
            raise UsageError(
                f"data.{key}={value} is of volumes with a label each (task=volume_cls) and does nothing where masks "
                "are learned: leave it out; data.patch_size, data.foreground_share and data.modality say what is seen"
            )
