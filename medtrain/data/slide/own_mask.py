"""Tissue as somebody else has marked it: outlines or a picture of labels, a file a slide."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.files import why_not_regular
from medtrain.io.label_picture import read_labels, sampled, side
from medtrain.io.outlines import IGNORED, Outlines, fill, read_outlines, share_beyond
from medtrain.io.slide import slide_fingerprint

PICTURES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".gif", ".webp")
OUTLINES = (".geojson", ".json", ".csv", ".txt", ".pkl")
BEYOND = "mask beyond the slide"
WHOLE = 64 * 2**20  # bytes of a file that is hashed whole
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class OwnMask:
    """Somebody's mask of a slide.

    Args:
        file: of outlines, or a picture of labels; '' where there is none and one is wanted.
        labels: classes or labels that are tissue, as text; None: all that are drawn, all labels but 0.
        fault: why it can't be used; ''.
    """

    file: str
    labels: tuple[str, ...] | None = None
    fault: str = ""

    @property
    def content(self) -> str:
        """Identify what it says: of its file, and of which labels count."""
        path = Path(self.file)
        if self.fault or not path.is_file():
            return ""
        small = path.stat().st_size <= WHOLE
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if small else slide_fingerprint(path)
        return hashlib.sha256(f"{digest} {self.labels}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Drawn:
    """A mask brought to the pixels of an overview.

    Args:
        mask: (H, W).
        note: what counts as tissue, and what was left out.
        beyond: share of what is marked that lies beyond the slide.
    """

    mask: NDArray[np.bool_]
    note: str
    beyond: float = 0.0


def draw(own: OwnMask, size: tuple[int, int], shape: tuple[int, int], scale: float) -> Drawn:
    """Read a mask.

    Args:
        size: width and height of level 0.
        shape: height and width of the overview.
        scale: pixels of level 0 a side of one of its.

    Raises:
        ValueError: with a short reason: it can't be read, is of another slide, or marks nothing.
    """
    if own.fault:
        raise ValueError(own.fault)
    path = Path(own.file)
    read = _picture if path.suffix.lower() in PICTURES else _outlines
    try:
        if reason := why_not_regular(path):
            raise ValueError(reason)
        return read(path, own.labels, size, shape, scale)
    except FileNotFoundError:
        raise ValueError(f"its tissue mask {path} is not there") from None
    except ValueError as error:
        raise ValueError(f"its tissue mask {path.name}: {error}") from None


def _outlines(
    path: Path, labels: Sequence[str] | None, size: tuple[int, int], shape: tuple[int, int], scale: float
) -> Drawn:
    outlines = read_outlines(path)
    names = Counter(name for name, _ in outlines.shapes)
    wanted = {name for name in names if (name in labels if labels else not name.endswith(IGNORED))}
    chosen = [rings for name, rings in outlines.shapes if name in wanted]
    if not chosen:
        raise ValueError(f"encloses no tissue: {_none_of(names, outlines, labels)}")
    beyond = share_beyond(chosen, size)
    if beyond > 1 - 1e-9:
        raise ValueError(
            f"all {len(chosen)} outlines lie beyond the slide of {size[0]} x {size[1]} pixels; those of level 0 count"
        )
    mask = np.zeros(shape, bool)
    for rings in chosen:
        fill(mask, rings, scale)
    if not mask.any():
        raise ValueError(f"its outlines enclose less than {scale:.3g} pixels of level 0 a side: no tile is so small")
    others = Counter({name: number for name, number in names.items() if name not in wanted})
    return Drawn(mask, _note(sorted(wanted), others + outlines.left_out), beyond)


def _picture(
    path: Path, labels: Sequence[str] | None, size: tuple[int, int], shape: tuple[int, int], scale: float
) -> Drawn:
    labels_HW = read_labels(path, shape[1])
    pixels = side(labels_HW.shape, size)
    there, counts = np.unique(labels_HW, return_counts=True)
    shares = {str(label): count / labels_HW.size for label, count in zip(there.tolist(), counts.tolist(), strict=True)}
    if labels is None and len(shares) > 2:
        raise ValueError(f"has labels {_shares(shares)}: say which are tissue, data.tissue_labels=[1]")
    wanted = [label for label in shares if (label in labels if labels else label != "0")]
    if not wanted:
        missed = f", wanted {_list(labels)}" if labels else ""
        raise ValueError(f"marks no tissue: its labels are {_shares(shares)}{missed}")
    mask = sampled(np.isin(labels_HW, [int(label) for label in wanted]), size, shape, scale)
    if not mask.any():
        raise ValueError(f"marks next to nothing: labels {_shares({label: shares[label] for label in wanted})}")
    others = [label for label in shares if label not in wanted]
    note = f"labels {_list(wanted)}" + f", not {_list(others)}" * bool(others)
    return Drawn(mask, f"{note}; its pixels {pixels:.4g} of level 0")


def _note(wanted: Sequence[str], left_out: Counter[str]) -> str:
    others = ", ".join(f"{name} ({number})" for name, number in left_out.most_common(SHOWN))
    return _list(wanted) + f", not {others}" * bool(others)


def _none_of(names: Counter[str], outlines: Outlines, labels: Sequence[str] | None) -> str:
    there = names + outlines.left_out
    what = ", ".join(f"{name} ({number})" for name, number in there.most_common(SHOWN)) or "nothing is drawn"
    return what + (f"; data.tissue_labels wants {_list(labels)}" if labels else "")


def _shares(shares: dict[str, float]) -> str:
    common = sorted(shares.items(), key=lambda part: -part[1])
    return ", ".join(f"{label} ({share:.1%})" for label, share in common[:SHOWN]) + ", ..." * (len(common) > SHOWN)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + ", ..." * (len(names) > SHOWN)
