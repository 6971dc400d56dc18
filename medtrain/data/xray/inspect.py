"""Image data inspected: all that is wrong with a table, a folder or an archive of images, not the first of it.

Training (`ImageData.prepare`) stops at what makes results wrong; here the same checks run, what they say is kept, and
the rest is looked at all the same.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.core.labels import indicators
from medtrain.data.inspection import (
    Finding,
    Inspection,
    Measures,
    duplicates,
    measure,
    near_duplicates,
    odd_pictures,
)
from medtrain.data.inspection.found import CASES, Bars, as_severity, no_bar
from medtrain.data.leakage import leaks, straddling
from medtrain.data.settings import choice
from medtrain.data.split import SPLITS
from medtrain.data.splitting import split_manifest
from medtrain.data.xray.labels import WhichIsPositive
from medtrain.data.xray.table import Manifest
from medtrain.io.image import ImageForm, content_box
from medtrain.io.image_header import Header

if TYPE_CHECKING:
    from medtrain.data.xray.module import ImageData

NO_PICTURE = ("missing", "unreadable", "duplicate_row")  # problems of rows without a picture, or with one seen before
WHOLE = "all"  # the split of all rows where the data cannot be split
MOST_CLASSES = 5


def inspect_images(data: ImageData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Everything there is to say of `data`, which need not be fit to train.

    Args:
        near: also look for pictures that look the same, whose cost grows with the square of their number.
        progress: gives for the title of a pass what is called with (done, total) pictures.

    Raises:
        UsageError: the configuration does not fit the table, so that nothing can be said.
    """
    try:
        form, manifest, findings = _listed(data)
    except DataError as error:
        where = Path(str(data.cfg.get("table") or data.cfg.get("root") or data.cfg.get("file"))).name
        found = error.problems or [Problem("unusable", where, str(error))]
        return Inspection([Finding(problem) for problem in found])
    pictures = data.pictures(manifest, form)
    bad = manifest.bad + data.unreadable(manifest, pictures.problems)
    severity = "warning" if data.cfg.get("on_bad") == "skip" else "error"
    findings += [Finding(as_severity(problem, severity), (row,)) for row, problem in bad]
    findings += [Finding(problem) for problem in manifest.warnings]
    places = _places(manifest)
    used = np.setdiff1d(np.arange(len(manifest)), [row for row, _ in bad])
    split, about_splits = _split(data, manifest, used, pictures.content)
    labels = np.full((len(manifest), len(data.spec.classes)), np.nan)
    labels[used] = indicators(data.spec.label_kind, len(data.spec.classes), manifest.targets[used])
    findings += about_splits + _leaks(data, manifest, used, pictures.content, split, places)
    findings += _absent(data, labels, split)
    findings += duplicates(used, pictures.content[used], split[used], labels[used], places)
    seen = np.setdiff1d(np.arange(len(manifest)), [row for row, problem in bad if problem.kind in NO_PICTURE])
    headers = data.headers(manifest, seen, progress("reading headers"))
    boxes = [content_box(header.size if header else form.size, form.size, form.fit) for header in headers]
    measures = measure(pictures, seen, boxes, progress("measuring"))
    findings += odd_pictures(measures, headers, form.size, places)
    if near:
        first = ~pd.Series(pictures.content[seen]).duplicated().to_numpy()
        bar = progress("comparing")
        findings += near_duplicates(measures, pictures, boxes, first, split, labels, places, bar)
    visible = set(seen.tolist())
    return Inspection(
        findings,
        spec=data.spec,
        cases=pd.DataFrame(dict(zip(CASES, (manifest.case, manifest.patient, split), strict=True))),
        targets=manifest.targets,
        images=_facts(headers, measures, findings),
        picture=lambda row: pictures[[row]][0] if row in visible else None,
        decoded=pictures.decoded,
    )


def _listed(data: ImageData) -> tuple[ImageForm, Manifest, list[Finding]]:
    """The manifest; where only the positive class is not named, it is guessed and said so."""
    try:
        return *data.listed(), []
    except WhichIsPositive as error:
        data.cfg["classes"] = error.names
        guess = f"{error}; here {error.names[1]!r} is taken"
        return *data.listed(), [Finding(Problem("no_positive", "data.positive", guess, "warning"))]


def _places(manifest: Manifest) -> list[str]:
    """File and row of each case, and its name where that says more."""
    named = zip(manifest.where, manifest.case, strict=True)
    return [where if case in where else f"{where} ({case})" for where, case in named]


def _split(
    data: ImageData, manifest: Manifest, used: NDArray[np.int64], content: NDArray[np.int64]
) -> tuple[NDArray[np.str_], list[Finding]]:
    """The split of every row, '' where it cannot be used, and why the data cannot be split, if so."""
    split = np.full(len(manifest), "", "<U5")
    if not len(used):
        return split, []
    try:
        frame = split_manifest(manifest, used, content[used], data.cfg, data.spec, all_test=False)
    except DataError as error:
        split[used] = WHOLE if manifest.split is None else manifest.split[used]
        found = error.problems or [Problem("no_split", "the splits", str(error))]
        return split, [Finding(problem) for problem in found]
    split[used] = frame["split"].to_numpy(str)
    return split, []


def _leaks(
    data: ImageData,
    manifest: Manifest,
    used: NDArray[np.int64],
    content: NDArray[np.int64],
    split: NDArray[np.str_],
    places: list[str],
) -> list[Finding]:
    policy = choice(data.cfg, "leakage", ("error", "warn", "drop"))
    parted = used[np.isin(split[used], SPLITS)]
    patient = np.array(manifest.patient, dtype=object)[parted]
    where, severity = [places[row] for row in parted], "error" if policy == "error" else "warning"
    found = leaks(patient, content[parted], split[parted], where, severity)
    groups = straddling(patient, split[parted]) + straddling(content[parted], split[parted])
    return [Finding(problem, tuple(parted[g].tolist())) for problem, g in zip(found, groups, strict=True)]


def _absent(data: ImageData, labels: NDArray[np.float64], split: NDArray[np.str_]) -> list[Finding]:
    """Splits that lack a class: it can't be learned, or nothing can be said of it."""
    found = []
    for name in dict.fromkeys(split[split != ""].tolist()):
        lacking = [c for c, n in zip(data.spec.classes, (labels[split == name] == 1).sum(0), strict=True) if not n]
        if lacking:
            shown = ", ".join(lacking[:MOST_CLASSES]) + ", ..." * (len(lacking) > MOST_CLASSES)
            found.append(Finding(Problem("absent_class", name, f"no image has {shown}", "warning")))
    return found


def _facts(headers: list[Header | None], measures: Measures, findings: list[Finding]) -> dict[str, Any]:
    """Sizes, depths, formats and grey levels of the pictures, for inspect.json."""
    known = [header for header in headers if header is not None]
    sides = np.array([header.size for header in known], np.int64).reshape(-1, 2)
    common = Counter(header.size for header in known).most_common(5)
    odd = Counter(finding.problem.kind for finding in findings)
    facts: dict[str, Any] = {"measured": len(measures)}
    if len(sides):
        facts["size"] = {
            "smallest": sides.min(0).tolist(),
            "median": np.median(sides, 0).tolist(),
            "largest": sides.max(0).tolist(),
            "most_common": [{"size": list(size), "images": count} for size, count in common],
        }
    for name in ("bits", "channels", "format"):
        facts[name] = {str(value): n for value, n in Counter(getattr(h, name) for h in known).most_common()}
    if len(measures):
        facts["grey"] = {  # from 0 (black) to 1 (white), at working size
            "mean": round(float(measures.mean.mean()), 4),
            "sd": round(float(measures.sd.mean()), 4),
            "share_black": round(float(measures.low.mean()), 4),
            "share_white": round(float(measures.high.mean()), 4),
        }
        for kind in ("constant", "saturated", "inverted"):
            facts[f"share_{kind}"] = round(odd[kind] / len(measures), 6)
    return facts
