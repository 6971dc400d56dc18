"""From annotations to cases: images as rows of a manifest, and the truth about their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.truth import Truth
from medtrain.core.words import suggest
from medtrain.data.boxes.judge import judge
from medtrain.data.table.columns import IGNORED
from medtrain.data.table.filter import matching
from medtrain.data.table.manifest import Manifest, identified, sorted_out
from medtrain.io.boxes import Annotations
from medtrain.io.cache_root import cache_root
from medtrain.io.image_header import Header, remembered_headers
from medtrain.io.table import Listing
from medtrain.target import DataSpec
from medtrain.target.boxes import BoxTarget
from medtrain.target.quantity import refuse_quantities

PARTS = ("patient", "split", "fold", "site")
UNIMAGINED = (1, 1)  # the size of an image that cannot be read, and is in no split


@dataclass
class Listed:
    """Images and boxes.

    Attributes:
        manifest: of the images; their targets are the classes that they show.
        truth: of the same images, in their order.
        headers: what the files say of themselves, None where nothing can be made of them.
    """

    manifest: Manifest
    truth: Truth
    headers: list[Header | None]


def list_boxes(found: Annotations, cfg: Mapping[str, Any], spec: DataSpec | None = None) -> Listed:
    """What `found` says, checked; problems of single images and boxes are listed in the manifest.

    Args:
        cfg: the data node: classes, label_map, filter, columns, patient_pattern.
        spec: of a trained model, whose classes hold then.

    Raises:
        UsageError: the configuration doesn't fit. DataError: no images, or boxes in another unit.
    """
    if not len(found):
        raise DataError(f"{found.file} lists no images")
    _rename(found, cfg.get("label_map"))
    classes = _classes(found, cfg.get("classes"), spec)
    total = len(found)
    if cfg.get("filter"):
        _filter(found, str(cfg["filter"]))
    manifest = identified(_rows(found), _columns(found, cfg), {**cfg, "path_format": None})
    manifest.filtered = total - len(found)
    assert manifest.states is not None
    headers = remembered_headers(manifest.path, manifest.states, cache_root(cfg.get("cache_dir")))
    size_N2 = np.array([header.size if header else (np.nan, np.nan) for header in headers], np.float64)
    judged = judge(found, size_N2)
    manifest.bad += [(n, problem) for n, problem in found.bad if n is not None] + judged.bad
    manifest.bad += _outside_classes(found, classes)
    manifest.faults += [problem for n, problem in found.bad if n is None]
    manifest.warnings += found.warnings + judged.warnings + _other_sizes(found, headers)
    truth = _truth(found, judged.boxes_M4, judged.kept_M, classes, size_N2)
    manifest.target = BoxTarget(classes)
    manifest.targets = shown_classes(truth, len(classes))
    return Listed(sorted_out(manifest), truth, headers)


def shown_classes(truth: Truth, number: int) -> NDArray[np.float64]:
    """(N, C): 1 where an image shows a class, else 0; crowds show nothing."""
    shown = np.zeros((len(truth), number))
    sure = ~truth.crowd_M
    shown[truth.case_M[sure], truth.label_M[sure]] = 1.0
    return shown


def _rename(found: Annotations, wanted: Mapping[Any, Any] | None) -> None:
    """data.label_map: {their name: our name}, several to one where that is meant, and null to leave boxes out."""
    if not wanted:
        return
    names = sorted({*found.label, *found.classes})
    unknown = [str(name) for name in wanted if str(name) not in names]
    if unknown:
        raise UsageError(
            "\n".join(
                f"data.label_map: {name!r} is no class of {found.file.name}; {suggest(name, names)}" for name in unknown
            )
        )
    to = {str(theirs): None if ours is None else str(ours) for theirs, ours in wanted.items()}
    found.classes = list(dict.fromkeys(name for old in found.classes if (name := to.get(old, old)) is not None))
    _keep_boxes(found, [m for m, label in enumerate(found.label) if to.get(label, label) is not None])
    found.label = [str(to.get(label, label)) for label in found.label]


def _keep_boxes(found: Annotations, kept: Sequence[int]) -> None:
    for name in ("image", "label", "box", "box_where", "crowd", "area", "box_id"):
        column = getattr(found, name)
        setattr(found, name, [column[m] for m in kept])


def _filter(found: Annotations, query: str) -> None:
    """Leaves the images that data.filter asks for, numbered anew."""
    keep_N = matching(_rows(found).typed, query)
    if not keep_N.any():
        raise DataError(f"data.filter={query!r} matches none of the {len(found)} images")
    number = dict(zip(np.flatnonzero(keep_N).tolist(), range(int(keep_N.sum())), strict=True))
    _keep_boxes(found, [m for m, image in enumerate(found.image) if image in number])
    found.image = [number[image] for image in found.image]
    for name in ("path", "name", "where", "size", "image_id", *PARTS):
        column = getattr(found, name)
        setattr(found, name, [column[n] for n in number])
    found.bad = [(None if n is None else number[n], problem) for n, problem in found.bad if n is None or n in number]


def _classes(found: Annotations, wanted: Sequence[Any] | None, spec: DataSpec | None) -> tuple[str, ...]:
    """The model's, else data.classes, else those of the file that any box has."""
    if spec is not None:
        return spec.classes
    if wanted:
        return tuple(str(name) for name in wanted)
    if not found.classes:  # a file that lists its classes says that they are
        refuse_quantities(found.label, "label", found.file.name)
    used = set(found.label)
    unused = [name for name in found.classes if name not in used]
    if unused and used:
        detail = f"no box is called {', '.join(unused)}: left out of the classes (data.classes=[...] keeps them)"
        found.warnings.append(Problem("absent_class", found.file.name, detail, "warning"))
    classes = [name for name in found.classes if name in used] + sorted(used - set(found.classes))
    if not classes:
        raise DataError(f"{found.file} holds no box at all", [problem for _, problem in found.bad])
    return tuple(classes)


def _outside_classes(found: Annotations, classes: Sequence[str]) -> list[tuple[int, Problem]]:
    advice = (
        f"it is none of the classes {', '.join(classes[:10])}; data.label_map can rename it, or leave it out (null)"
    )
    known = set(classes)
    return [
        (image, Problem("bad_label", where, f"the box is called {label!r}: {advice}"))
        for image, label, where in zip(found.image, found.label, found.box_where, strict=True)
        if label not in known
    ]


def _rows(found: Annotations) -> Listing:
    parts = {name: getattr(found, name) for name in PARTS if any(getattr(found, name))}
    return Listing.of(found.file, {"path": found.path, "case": found.name, **parts}, found.where)


def _columns(found: Annotations, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Which column of `_rows` has which role; data.columns.split=none and the like switch one off."""
    named = cfg.get("columns") or {}
    has = {name: any(getattr(found, name)) and str(named.get(name) or "").lower() != IGNORED for name in PARTS}
    return {"path": "path", "case": "case"} | {name: name if there else None for name, there in has.items()}


def _other_sizes(found: Annotations, headers: Sequence[Header | None]) -> list[Problem]:
    return [
        Problem(
            "size_differs",
            where,
            f"declared as {size[1]} x {size[0]} pixels, but the file has {header.size[1]} x {header.size[0]}, "
            "which the boxes are taken to be in",
            "warning",
        )
        for where, size, header in zip(found.where, found.size, headers, strict=True)
        if size is not None and header is not None and size != header.size
    ]


def _truth(
    found: Annotations,
    boxes_M4: NDArray[np.float64],
    kept_M: NDArray[np.int64],
    classes: Sequence[str],
    size_N2: NDArray[np.float64],
) -> Truth:
    number = {name: n for n, name in enumerate(classes)}
    kept = [(at, m) for at, m in enumerate(kept_M.tolist()) if found.label[m] in number]
    kept.sort(key=lambda pair: found.image[pair[1]])
    at, rows = (np.array(column, np.int64) for column in (zip(*kept, strict=True) if kept else ((), ())))
    boxes = boxes_M4[at]
    areas = [found.area[m] for m in rows.tolist()]
    own = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    ids, images = (
        [n if n is not None else at for at, n in enumerate(column, start=1)]
        for column in (found.box_id, found.image_id)
    )
    return Truth(
        boxes,
        np.array([number[found.label[m]] for m in rows.tolist()], np.int64),
        np.array(found.image, np.int64)[rows],
        np.array(found.crowd, bool)[rows],
        np.array([mine if area is None else area for area, mine in zip(areas, own, strict=True)], np.float64),
        np.array(ids, np.int64)[rows],
        np.where(np.isfinite(size_N2), size_N2, UNIMAGINED).astype(np.int64),
        np.array(images, np.int64),
    )
