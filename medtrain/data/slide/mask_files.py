"""Which tissue mask is a slide's: the one its row names, else the one of its name in the folder data.tissue."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.data.settings import choice
from medtrain.data.slide.own_mask import OUTLINES, PICTURES, OwnMask
from medtrain.io.dicom_slide import ENDINGS
from medtrain.io.picture_files import files_below
from medtrain.io.slide_names import slide_stems
from medtrain.io.stats import absolute

MISSING = ("detect", "error")
OF_SLIDES = {"slide_mpp": "um/px", "mask": "tissue mask"}  # fields of `Tiling` that may differ from slide to slide
_WORDS = re.compile(r"[ _.-](mask|tissue|annotations?|contours?|qc)$", re.IGNORECASE)  # after the slide's name


@dataclass(frozen=True)
class Given:
    """What is known of slides beside their files, one a slide.

    Args:
        mpp: um/px of level 0, None where the file is believed; None without such a column.
        masks: of tissue, None where it is to be found; None where nobody speaks of masks.
    """

    mpp: Sequence[float | None] | None = None
    masks: Sequence[OwnMask | None] | None = None

    def names(self) -> set[str]:
        """Name the fields of `Tiling` that somebody speaks of."""
        return {key for key, of_all in (("slide_mpp", self.mpp), ("mask", self.masks)) if of_all is not None}


def masks_of(
    cfg: Mapping[str, Any], slides: Sequence[str], named: Sequence[str] | None, report: Callable[[str], None]
) -> list[OwnMask | None] | None:
    """Find the tissue mask of each slide; None where neither a column nor data.tissue speaks of any.

    Args:
        cfg: the data node: ``tissue``, ``tissue_labels``, ``tissue_missing``.
        slides: absolute paths.
        named: the mask that the row names, '' of blank cells; None without such a column.
        report: takes a line on slides without a mask.

    Raises:
        UsageError: data.tissue is no folder, or holds no mask of any of them.
    """
    folder = Path(str(cfg["tissue"])).expanduser() if cfg.get("tissue") else None
    if folder is None and named is None:
        return None
    labels = _labels(cfg.get("tissue_labels"))
    by_name = _by_name(folder, set(absolute(slides))) if folder is not None else {}
    masks: list[OwnMask | None] = []
    for number, slide in enumerate(slides):
        if named is not None and named[number]:
            masks.append(OwnMask(named[number], labels))
            continue
        fitting = _fitting(Path(slide), by_name)
        several = ", ".join(file.name for file in fitting[:4])
        fault = f"several files may be its tissue mask: {several} (data.columns.tissue names one)" * (len(fitting) > 1)
        masks.append(OwnMask(str(fitting[0]), labels, fault) if fitting else None)
    masks = _of_one_slide(masks, slides, named)
    lacking = [slide for slide, mask in zip(slides, masks, strict=True) if mask is None]
    if folder is not None and len(lacking) == len(slides) > 0 and named is None:
        files = ", ".join(sorted({file.name for files in by_name.values() for file in files})[:3]) or "none"
        raise UsageError(
            f"data.tissue={folder} has no mask that bears the name of one of {len(slides)} slides "
            f"({Path(slides[0]).name}, ...); its masks: {files}"
        )
    if choice(cfg, "tissue_missing", MISSING) == "error":
        fault = "it has no tissue mask (data.tissue_missing=detect finds its tissue)"
        return [mask or OwnMask("", labels, fault) for mask in masks]
    if lacking:
        report(
            f"{len(lacking):,} of {len(slides):,} slides ({Path(lacking[0]).name}, ...) have no tissue mask: theirs "
            "is found by colour (data.tissue_missing=error refuses them)"
        )
    return masks


def _fitting(slide: Path, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """List the masks that bear a slide's name; of several those in a folder that is called as the slide's."""
    names = dict.fromkeys((slide.name, *slide_stems(slide.name)))
    if slide.suffix.lower() in ENDINGS:  # archives name the folder of a DICOM slide, and number its files
        names[slide.parent.name] = None
    fitting = next((by_name[name] for name in names if name in by_name), [])
    beside = [file for file in fitting if file.parent.name == slide.parent.name]
    return beside or fitting


def _of_one_slide(
    masks: Sequence[OwnMask | None], slides: Sequence[str], named: Sequence[str] | None
) -> list[OwnMask | None]:
    """Refuse masks that several slides bear the name of, where no row names them."""
    of_mask: dict[str, set[str]] = defaultdict(set)
    for number, mask in enumerate(masks):
        if mask is not None and not (named is not None and named[number]):
            of_mask[mask.file].add(slides[number])
    out: list[OwnMask | None] = []
    for mask in masks:
        owners = sorted(of_mask[mask.file]) if mask is not None else []
        if mask is not None and len(owners) > 1 and not mask.fault:
            shown = f"{len(owners)} slides bear the name of {Path(mask.file).name} ({owners[0]}, {owners[1]}, ...)"
            fault = (
                f"{shown}: data.columns.tissue says whose it is, or a folder around it that is called as the slide's"
            )
            mask = replace(mask, fault=fault)
        out.append(mask)
    return out


def _by_name(folder: Path, slides: set[str]) -> dict[str, list[Path]]:
    """List the masks of a folder by what they are called without ending and words such as ``_mask``."""
    if not folder.is_dir():
        raise UsageError(f"data.tissue={folder} is no folder")
    out: dict[str, list[Path]] = defaultdict(list)
    for file in files_below(folder):
        if file.suffix.lower() not in (*PICTURES, *OUTLINES) or str(file.absolute()) in slides:
            continue
        name = file.name[: -len(file.suffix)]
        names = [name]
        while _WORDS.search(name):
            name = _WORDS.sub("", name)
            names.append(name)
        for called in names:
            out[called].append(file)
    return out


def _labels(wanted: Any) -> tuple[str, ...] | None:
    """Read data.tissue_labels: one label, or several."""
    if wanted is None:
        return None
    return tuple(sorted({str(label) for label in (wanted if isinstance(wanted, list | tuple) else [wanted])}))
