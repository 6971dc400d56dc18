"""From annotations to rows: images as a manifest, and the truth about their boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.coco_ids import category_ids
from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.truth import Truth, id_array
from medtrain.core.words import suggest
from medtrain.data.rows.box_faults import Judged, judge
from medtrain.data.rows.columns import IGNORED
from medtrain.data.rows.filter import matching
from medtrain.data.rows.manifest import Manifest, identified, sorted_out
from medtrain.data.rows.readers import read_together, way_of
from medtrain.io.boxes import Annotations
from medtrain.io.cache_root import cache_root
from medtrain.io.image_header import Header, remembered_headers
from medtrain.io.table import Listing
from medtrain.target import DataSpec
from medtrain.target.boxes import BoxTarget
from medtrain.target.quantity import refuse_quantities
from medtrain.target.spelling import joined, outside, refuse_two_ways

BOX_COLUMNS = ("image", "label", "box", "box_where", "crowd", "difficult", "area", "box_id", "outline", "reader")
PARTS = ("patient", "split", "fold", "site")
IMAGE_COLUMNS = ("path", "name", "where", "size", "image_id", "readers", *PARTS)
UNIMAGINED = (1, 1)  # the size of an image that cannot be read, and is in no split


def box_rows(annotations: Annotations, cfg: Mapping[str, Any], spec: DataSpec | None = None) -> Manifest:
    """Make rows of the images that annotations name: their targets are the classes shown, and their truth the boxes.

    Problems of single images and boxes are listed in the manifest.

    Args:
        cfg: the data node: classes, label_map, filter, columns, patient_pattern.
        spec: of a trained model, whose classes hold then.

    Raises:
        UsageError: the configuration doesn't fit. DataError: no images, or boxes in another unit.
    """
    total = len(annotations)
    if not total:
        raise DataError(f"{annotations.file} lists no images")
    annotations = _renamed(annotations, cfg.get("label_map"))
    merged: list[Problem] = []
    if cfg.get("merge_case"):
        named = spec.classes if spec is not None else cfg.get("classes") or ()
        to, merged = joined(Counter(annotations.label), annotations.file.name, named)
        annotations = _renamed(annotations, to)
    classes, warnings = _classes(annotations, cfg.get("classes"), spec)
    warnings += merged
    if cfg.get("filter"):
        annotations = _filtered(annotations, str(cfg["filter"]))
    manifest = identified(
        _rows(annotations), _columns(annotations, cfg), {**cfg, "path_format": None, "root": None}
    )  # absolute
    manifest.filtered = total - len(annotations)
    assert manifest.states is not None
    headers = remembered_headers(manifest.path, manifest.states, cache_root(cfg.get("cache_dir")))
    size_N2 = np.array([header.size if header else (np.nan, np.nan) for header in headers], np.float64)
    judged = judge(annotations, size_N2, by_reader=way_of(cfg) is not None)
    outside = _outside_classes(annotations, classes)
    annotations, judged = read_together(annotations, judged, cfg)
    manifest.bad += [(n, problem) for n, problem in annotations.bad if n is not None] + judged.bad
    manifest.bad += outside
    manifest.faults += [problem for n, problem in annotations.bad if n is None]
    manifest.warnings += annotations.warnings + warnings + judged.warnings + _other_sizes(annotations, headers)
    manifest.headers = headers
    numbers = _category_ids(annotations, cfg.get("label_map"), classes, spec)
    manifest.truth = _truth(annotations, judged, classes, size_N2, numbers)
    manifest.target = BoxTarget(classes, numbers)
    manifest.targets = shown_classes(manifest.truth, len(classes))
    return sorted_out(manifest)


def roots_of(cfg: Mapping[str, Any], *single: str) -> list[Path]:
    """Find the folders of data.root, which must be there.

    Args:
        single: keys that lie below one folder, so that there may not be several.

    Raises:
        UsageError: none is named, one is not there, or lies in another; a key of `single` beside several.
    """
    root = cfg.get("root")
    names = [str(name) for name in (root if isinstance(root, list | tuple) else [root] if root else ())]
    if not names:
        raise UsageError(f"data.root is not set: give the folder of the {cfg.get('name')} data")
    roots = [Path(name).expanduser() for name in names]
    for folder in roots:
        if not folder.is_dir():
            raise UsageError(f"data.root={folder}: no such folder")
    places = [folder.resolve() for folder in roots]
    for n, place in enumerate(places):
        if inner := [roots[m] for m, other in enumerate(places) if m != n and other.is_relative_to(place)]:
            raise UsageError(
                f"data.root: {inner[0]} lies in {roots[n]}, so its images would come twice; name one of them"
            )
    for key in single:
        if len(roots) > 1 and cfg.get(key):
            raise UsageError(f"data.{key} belongs to one data.root, but there are {len(roots)}; leave it out")
    return roots


def shown_classes(truth: Truth, number: int) -> NDArray[np.float64]:
    """Tell, (N, C), 1 where an image shows a class, else 0; crowds show nothing."""
    shown = np.zeros((len(truth), number))
    sure = ~truth.crowd_M
    shown[truth.case_M[sure], truth.label_M[sure]] = 1.0
    return shown


def _renamed(annotations: Annotations, wanted: Mapping[Any, Any] | None) -> Annotations:
    """Apply data.label_map: {their name: our name}, several to one where that is meant, and null to leave boxes out."""
    if not wanted:
        return annotations
    names = sorted({*annotations.label, *annotations.classes})
    unknown = [str(name) for name in wanted if str(name) not in names]
    if unknown:
        file = annotations.file.name
        faults = [f"data.label_map: {name!r} is no class of {file}; {suggest(name, names)}" for name in unknown]
        raise UsageError("\n".join(faults))
    to = {str(theirs): None if ours is None else str(ours) for theirs, ours in wanted.items()}
    classes = list(dict.fromkeys(name for old in annotations.classes if (name := to.get(old, old)) is not None))
    called = [to.get(label, label) for label in annotations.label]
    left = [m for m, name in enumerate(called) if name is not None]
    return replace(_selected(annotations, BOX_COLUMNS, left), classes=classes, label=[str(called[m]) for m in left])


def _selected(annotations: Annotations, columns: Sequence[str], rows: Sequence[int]) -> Annotations:
    """Take these rows of some columns, all of one length."""
    taken: dict[str, Any] = {name: [getattr(annotations, name)[row] for row in rows] for name in columns}
    return replace(annotations, **taken)


def _filtered(annotations: Annotations, query: str) -> Annotations:
    """Leave the images that data.filter asks for, numbered anew."""
    keep_N = matching(_rows(annotations), query)
    if not keep_N.any():
        raise DataError(f"data.filter={query!r} matches none of the {len(annotations)} images")
    number = dict(zip(np.flatnonzero(keep_N).tolist(), range(int(keep_N.sum())), strict=True))
    boxes = [m for m, image in enumerate(annotations.image) if image in number]
    left = _selected(_selected(annotations, BOX_COLUMNS, boxes), IMAGE_COLUMNS, list(number))
    bad = [(None if n is None else number[n], problem) for n, problem in left.bad if n is None or n in number]
    return replace(left, image=[number[image] for image in left.image], bad=bad)


def _classes(
    annotations: Annotations, wanted: Sequence[Any] | None, spec: DataSpec | None
) -> tuple[tuple[str, ...], list[Problem]]:
    """Take the model's classes, else data.classes, else those of the file that any box has; and warn of the others."""
    if spec is not None:
        return spec.classes, []
    if wanted:
        return tuple(str(name) for name in wanted), []
    if not annotations.classes:  # a file that lists its classes says that they are
        refuse_quantities(annotations.label, "label", annotations.file.name)
    counts = Counter(annotations.label)
    refuse_two_ways("the boxes' classes", counts, "data.classes")
    used, warnings = set(counts), []
    unused = [name for name in annotations.classes if name not in used]
    if unused and used:
        detail = f"no box is called {', '.join(unused)}: left out of the classes (data.classes=[...] keeps them)"
        warnings.append(Problem("absent_class", annotations.file.name, detail, "warning"))
    classes = [name for name in annotations.classes if name in used] + sorted(used - set(annotations.classes))
    if not classes:
        unread = [problem for problem in annotations.warnings if problem.kind in ("no_labels", "no_image", "no_split")]
        problems = [problem for _, problem in annotations.bad]
        raise DataError(f"{annotations.file} holds no box at all", problems + unread)
    return tuple(classes), warnings


def _outside_classes(annotations: Annotations, classes: Sequence[str]) -> list[tuple[int, Problem]]:
    advice = "data.label_map can rename it, or leave it out (null)"
    known = set(classes)
    return [
        (image, Problem("bad_label", where, f"the box's class {outside(label, classes)}; {advice}"))
        for image, label, where in zip(annotations.image, annotations.label, annotations.box_where, strict=True)
        if label not in known
    ]


def _rows(annotations: Annotations) -> Listing:
    parts = {name: getattr(annotations, name) for name in PARTS if any(getattr(annotations, name))}
    columns = {"path": annotations.path, "case": annotations.name, **parts}
    return Listing.of(annotations.file, columns, annotations.where)


def _columns(annotations: Annotations, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Say which column of `_rows` has which role; data.columns.split=none and the like switch one off."""
    named = cfg.get("columns") or {}
    has = {name: any(getattr(annotations, name)) and str(named.get(name) or "").lower() != IGNORED for name in PARTS}
    return {"path": "path", "case": "case"} | {name: name if there else None for name, there in has.items()}


def _other_sizes(annotations: Annotations, headers: Sequence[Header | None]) -> list[Problem]:
    return [
        Problem(
            "size_differs",
            where,
            f"declared as {size[1]} x {size[0]} pixels, but the file has {header.size[1]} x {header.size[0]}, "
            "which the boxes are taken to be in",
            "warning",
        )
        for where, size, header in zip(annotations.where, annotations.size, headers, strict=True)
        if size is not None and header is not None and size != header.size
    ]


def _category_ids(
    annotations: Annotations, renamed: Mapping[Any, Any] | None, classes: Sequence[str], spec: DataSpec | None
) -> tuple[Any, ...]:
    """Give the classes' ids: the file's, of joined classes the first's; else those of the model's own data."""
    target: Any = None if spec is None else spec.target
    own = dict(zip(classes, target.category_ids, strict=False)) if target is not None else {}
    to = {str(theirs): str(ours) for theirs, ours in (renamed or {}).items() if ours is not None}
    for name, number in reversed(annotations.category_id.items()):
        own[to.get(name, name)] = number
    return category_ids(classes, {name: own[name] for name in classes if name in own})


def _truth(
    annotations: Annotations,
    judged: Judged,
    classes: Sequence[str],
    size_N2: NDArray[np.float64],
    numbers: tuple[Any, ...],
) -> Truth:
    """Pack the usable boxes of known classes in the order of their images."""
    number = {name: n for n, name in enumerate(classes)}
    usable = [(n, m) for n, m in enumerate(judged.box_M.tolist()) if annotations.label[m] in number]
    usable.sort(key=lambda pair: annotations.image[pair[1]])
    rows = np.array([m for _, m in usable], np.int64)
    boxes = judged.boxes_M4[[n for n, _ in usable]]
    own = (boxes[:, 2:] - boxes[:, :2]).prod(1).tolist()
    written = [annotations.area[m] for m in rows]
    areas = [area if area is not None else side for area, side in zip(written, own, strict=True)]
    ids, images = (
        id_array([own_id if own_id is not None else n for n, own_id in enumerate(column, start=1)])
        for column in (annotations.box_id, annotations.image_id)
    )
    return Truth(
        boxes,
        np.array([number[annotations.label[m]] for m in rows], np.int64),
        np.array(annotations.image, np.int64)[rows],
        np.array(annotations.crowd, bool)[rows],
        np.array(areas, np.float64),
        ids[rows],
        np.where(np.isfinite(size_N2), size_N2, UNIMAGINED).astype(np.int64),
        images,
        numbers,
        np.array(annotations.difficult, bool)[rows],
    )
