"""Boxes that several readers drew in one image: told, fused, or held where enough agree; and their agreement."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.box_fusion import fuse_boxes
from medtrain.core.errors import Problem, UsageError
from medtrain.core.truth import PredictedBoxes
from medtrain.data.rows.box_faults import Judged
from medtrain.io.boxes import Annotations
from medtrain.io.boxes.annotations import BoxRow

WAYS = ("fuse", "vote")


def way_of(cfg: Mapping[str, Any]) -> str | None:
    """Read data.readers: None, fuse or vote (UsageError: another word, or a consensus of none)."""
    way = cfg.get("readers")
    if way is None:
        return None
    if way not in WAYS:
        raise UsageError(f"data.readers={way} is none of {', '.join(WAYS)}, null")
    wanted = cfg.get("consensus", 2)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise UsageError(f"data.consensus={wanted} is no whole number of readers from 1")
    return str(way)


def read_together(annotations: Annotations, judged: Judged, cfg: Mapping[str, Any]) -> tuple[Annotations, Judged]:
    """Fuse the boxes of several readers as data.readers says; else warn of images where they overlap.

    Fused are boxes of one class by weighted box fusion, all readers weighing the same. `vote` holds those that
    data.consensus of the image's readers drew, or all of its readers where fewer looked. Crowds stay as they are.

    Returns:
        annotations that have the boxes that count, and these boxes in pixels.

    Raises:
        UsageError: data.readers is set, and nothing says who drew the boxes.
    """
    way, file = way_of(cfg), annotations.file.name
    readers = sorted(
        {name for name in annotations.reader if name} | {n for names in annotations.readers for n in names}
    )
    if len(readers) < 2:
        if way is not None:
            reason = f"all are of {readers[0]!r}" if readers else "nothing says who drew them (data.columns.reader)"
            raise UsageError(f"data.readers={way} needs boxes of several readers, but in {file} {reason}")
        return annotations, judged
    single, fused, drawn = _fused(annotations, judged, readers)
    looked = _looked(annotations)
    out = replace(judged, warnings=[*judged.warnings, *_agreement(file, annotations, readers, fused, drawn, looked)])
    if way is None:
        several = len(set(fused.image_N[drawn > 1].tolist()))
        if several:
            detail = (
                f"{several:,} images have overlapping boxes of one class by several readers, each a lesion of its own: "
                "data.readers=fuse makes one of them, data.readers=vote holds what data.consensus agree on"
            )
            out.warnings.append(Problem("several_readers", file, detail, "warning"))
        return annotations, out
    chosen = np.ones(len(drawn), bool)
    if way == "vote":
        wanted = int(cfg.get("consensus", 2))
        chosen = drawn >= np.minimum(wanted, looked[fused.image_N])
        few = int(((looked > 0) & (looked < wanted)).sum())
        detail = f"{int((~chosen).sum()):,} boxes are left out that fewer than {wanted} readers drew"
        detail += f"; {few:,} images were read by fewer, so all of their readers must agree" if few else ""
        out.warnings.append(Problem("no_consensus", file, detail, "warning"))
    return _with_boxes(annotations, out, single, fused.select(chosen), drawn[chosen])


def _fused(
    annotations: Annotations, judged: Judged, readers: list[str]
) -> tuple[NDArray[np.int64], PredictedBoxes, NDArray[np.int64]]:
    """Fuse: positions among the judged boxes that are not fused (crowds), fused boxes, and how many drew each."""
    labels = sorted(set(annotations.label))
    label, reader = ({name: n for n, name in enumerate(names)} for names in (labels, ["", *readers]))
    rows = judged.box_M.tolist()
    crowd_M = np.array([annotations.crowd[m] for m in rows], bool)
    own = [m for m, crowd in zip(rows, crowd_M.tolist(), strict=True) if not crowd]
    boxes = PredictedBoxes(
        judged.boxes_M4[~crowd_M],
        np.ones(len(own)),
        np.array([label[annotations.label[m]] for m in own], np.int64),
        np.array([annotations.image[m] for m in own], np.int64),
    )
    source = np.array([reader[annotations.reader[m]] for m in own], np.int64)
    fused, drawn = fuse_boxes(boxes, source, len(reader))
    return np.flatnonzero(crowd_M), fused, drawn


def _looked(annotations: Annotations) -> NDArray[np.int64]:
    """Count the readers of each image: those who drew in it, and those who said that there is nothing."""
    names: dict[int, set[str]] = defaultdict(set)
    for image, reader in zip(annotations.image, annotations.reader, strict=True):
        names[image].add(reader)
    for image, more in enumerate(annotations.readers):
        names[image] |= set(more)
    return np.array([len(names[image]) for image in range(len(annotations))], np.int64)


def _agreement(
    file: str,
    annotations: Annotations,
    readers: list[str],
    fused: PredictedBoxes,
    drawn: NDArray[np.int64],
    looked: NDArray[np.int64],
) -> list[Problem]:
    """Tell, by class, how many readers drew each lesion, and the proportion of positive agreement.

    That is, of all pairs of a reader's box and another reader of the image, the share in which the other drew it, too;
    of two readers Dice's 2a / (2a + b + c) (Cicchetti and Feinstein, Journal of Clinical Epidemiology 1990).
    """
    lines = []
    for label, name in enumerate(sorted(set(annotations.label))):
        own = (fused.label_N == label) & (looked[fused.image_N] > 1)
        n, c = looked[fused.image_N[own]], drawn[own]
        if (c * (n - 1)).sum():
            by = ", ".join(f"{number:,} by {k}" for k, number in sorted(Counter(c.tolist()).items()))
            lines.append(f"{name} {(c * (c - 1)).sum() / (c * (n - 1)).sum():.2f} ({by})")
    if not lines:
        return []
    detail = f"positive agreement of {len(readers)} readers, and lesions by how many drew them: {'; '.join(lines)}"
    return [Problem("reader_agreement", file, detail, "note")]


def _with_boxes(
    annotations: Annotations, judged: Judged, single: NDArray[np.int64], fused: PredictedBoxes, drawn: NDArray[np.int64]
) -> tuple[Annotations, Judged]:
    """Put the fused boxes in the place of all but the `single` ones."""
    labels = sorted(set(annotations.label))
    columns = ("image", "label", "box", "box_where", "crowd", "difficult", "area", "box_id", "outline", "reader")
    rows = judged.box_M[single].tolist()
    empty: dict[str, Any] = {name: [getattr(annotations, name)[m] for m in rows] for name in columns}
    out = replace(annotations, **empty)
    parts = zip(fused.image_N.tolist(), fused.label_N.tolist(), fused.boxes_N4.tolist(), drawn.tolist(), strict=True)
    for image, label, box, number in parts:
        out.add_box(BoxRow(image, labels[label], box, f"{annotations.where[image]} ({number} readers)"))
    boxes_M4 = np.concatenate([judged.boxes_M4[single], fused.boxes_N4.reshape(-1, 4)])
    return out, replace(judged, boxes_M4=boxes_M4, box_M=np.arange(len(boxes_M4)))
