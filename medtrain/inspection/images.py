"""Images inspected: the table they stand in, then their headers, grey levels and looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.data.batches.boxes import BoxData
from medtrain.data.batches.images import ImageData
from medtrain.inspection import (
    Finding,
    Inspection,
    Known,
    Measures,
    look,
    measure,
    near_duplicates,
    odd_pictures,
)
from medtrain.inspection.findings import Bars, no_bar, of_the_set
from medtrain.inspection.table import named_places
from medtrain.io.dicom_notes import WORDS, picture_notes
from medtrain.io.image import content_box, read_image
from medtrain.io.image_form import ImageForm, is_picture
from medtrain.io.image_header import Header

LOOKED_AT = 16  # files whose channels are compared
SIDE = 64  # pixels at which they are read at least
COLOURED = 0.02  # of the greatest value, by which channels differ on average in a coloured picture


def inspect(data: ImageData | BoxData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect all there is to say of `data`, which need not be fit to train.

    Args:
        near: also look for pictures that look the same, whose cost grows with the square of their number.
        progress: gives for the title of a pass what is called with (done, total) pictures.

    Raises:
        UsageError: the configuration does not fit the table, so that nothing can be said.
    """
    table = look(data)
    if isinstance(table, Inspection):
        return table
    pictures, form = data.cache, data.form
    if not isinstance(form, ImageForm):  # grey levels and looks are measured of pictures only
        return table.outcome(data)
    listed, sizes = data.listed_rows, [len(data.members[case]) for case in table.seen]
    seen = np.array([row for case in table.seen.tolist() for row in data.members[case]], np.int64)
    case_N = np.zeros(len(listed), np.int64)  # of each picture that is seen
    case_N[seen] = np.repeat(table.seen, sizes)
    places = table.places if data.grouping is None else named_places(listed)
    headers = data.headers(listed, seen, progress("reading headers"))
    boxes = [content_box(header.size if header else form.size, form.size, form.fit) for header in headers]
    measures = measure(pictures, seen, boxes, progress("measuring"))
    findings = _noted(headers, listed.path, seen, places) + odd_pictures(measures, headers, form.size, places)
    if near:
        first = ~pd.Series(pictures.content[seen]).duplicated().to_numpy()
        bar = progress("comparing")
        known = Known(table.split[case_N], table.labels[case_N], places)
        findings += near_duplicates(measures, pictures, boxes, first, known, bar)
    facts = _facts(headers, measures, findings) | _colour(headers, [listed.path[row] for row in seen])
    if data.grouping is not None:
        facts["images_per_case"] = {str(size): count for size, count in sorted(Counter(sizes).items())}
    table.findings += [
        Finding(own.problem, tuple(dict.fromkeys(int(case_N[row]) for row in own.rows))) for own in findings
    ]
    visible = set(table.seen.tolist())
    return table.outcome(
        data,
        images=facts,
        picture=lambda case: pictures[data.members[case][:1]][0] if case in visible else None,
    )


def _noted(
    headers: Sequence[Header | None], paths: Sequence[str], rows: NDArray[np.int64], places: Sequence[str]
) -> list[Finding]:
    """Warn of DICOM pictures that are read, but not without a word."""
    findings = []
    dicom = [row for header, row in zip(headers, rows.tolist(), strict=True) if header and header.format == "DICOM"]
    notes = {row: picture_notes(paths[row]) for row in dicom}
    for word, text in WORDS.items():
        noted = [Finding(Problem(word, places[row], text, "warning"), (row,)) for row in dicom if word in notes[row]]
        findings += of_the_set(noted, len(rows), "have one thing in common")
    return findings


def _colour(headers: Sequence[Header | None], paths: Sequence[str]) -> dict[str, float]:
    """Give the share of coloured files, by some of those with several channels; {} where there are none.

    Films are often stored with three channels that are all the same, and a few of them are drawn on in colour.
    """
    known = sum(header is not None for header in headers)
    several = [path for header, path in zip(headers, paths, strict=True) if header and header.channels > 1]
    share = len(several) / max(1, known)
    looked_at = [
        path for path in several[:: max(1, len(several) // LOOKED_AT)] if is_picture(path) and Path(path).is_file()
    ]
    if not looked_at:
        return {}
    spreads = []
    for path in looked_at:
        x_HWC = np.atleast_3d(read_image(path, at_least=SIDE)).astype(np.float64)
        spreads.append(np.ptp(x_HWC, axis=2).mean() > COLOURED * x_HWC.max())
    return {"coloured": share * float(np.mean(spreads))}


def _facts(headers: list[Header | None], measures: Measures, findings: list[Finding]) -> dict[str, Any]:
    """Summarise sizes, depths, formats and grey levels of the pictures, for inspect.json."""
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
