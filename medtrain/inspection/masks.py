"""Volumes with masks inspected: as volumes, and what masks mark: volumes by class, pieces, borders, grey levels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label

from medtrain.core.cores import cores
from medtrain.core.errors import Problem
from medtrain.data.batches.mask_cases import labels_in_batches
from medtrain.data.batches.mask_facts import MaskFacts
from medtrain.data.batches.masks import MaskData
from medtrain.data.batches.patches import Case
from medtrain.inspection import Finding, Inspection, volumes
from medtrain.inspection.findings import Bars, no_bar, of_the_set

OF_LABELS = ("padded", "shortcut", "no_mask")  # findings about volumes with a label each: here patches are planned
ODD = 8.0  # times the median that a volume may be, either way
PIECES = 4  # times the median number, from which on a mask is in odd pieces
SAMPLE = 16  # every so many voxels along each axis are looked at, of what no mask marks, at most
EVERYWHERE = generate_binary_structure(3, 3)  # 26 neighbours


@dataclass(frozen=True)
class Marked:
    """What a mask marks of one class in one case.

    Args:
        ml: its volume.
        pieces: connected regions (26 neighbours).
        borders: does it reach the volume's border?
        grey: mean grey level within, of the first channel.
    """

    ml: float
    pieces: int
    borders: bool
    grey: float


def inspect(data: MaskData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect all there is to say of `data`; arguments and errors as of `medtrain.inspection.volumes.inspect`."""
    inspection = volumes.inspect(data, near, progress)
    if inspection.spec is None:
        return inspection
    inspection.findings = [f for f in inspection.findings if f.problem.kind not in OF_LABELS]
    rows = [row for row in sorted(data.facts) if inspection.cases["split"].iloc[row] != ""]
    with ThreadPoolExecutor(cores()) as pool:
        measured = list(pool.map(lambda row: _measure(data, row), rows))
    names = [str(case) for case in inspection.cases["case"]]
    inspection.add(_full(data, rows, names))
    inspection.add(_borders(rows, names, measured, data.spec.classes))
    inspection.add(_odd(rows, names, measured, data.spec.classes))
    inspection.images["marked"] = marked_facts(measured, data.spec.classes)
    return inspection


def _measure(data: MaskData, row: int) -> tuple[list[Marked | None], float | None]:
    """Measure each class in a case, None where it is absent; and the mean grey level of what is not marked, if any."""
    case = data.own[row]
    assert case is not None and case.mask is not None
    target, label_of = data.target, labels_in_batches(data.target)
    facts = data.facts[row]
    numbers = [np.flatnonzero(np.isin(label_of, region)) for region in target.parts]
    steps = tuple(slice(None, None, max(1, min(SAMPLE, n // SAMPLE))) for n in case.shape)
    outside = case.mask.mapped()[0][steps] == 0
    image = case.images[0]
    grey = image.mapped()[0][steps][outside] * image.scale[0] + image.offset[0]
    return [_marked(case, facts, own) for own in numbers], float(grey.mean()) if grey.size else None


def _marked(case: Case, facts: MaskFacts, numbers: NDArray[np.int64]) -> Marked | None:
    here = np.isin(facts.label_L, numbers)
    if not here.any():
        return None
    assert case.mask is not None
    low, high = facts.low_L3[here].min(0), facts.high_L3[here].max(0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    _, pieces = label(np.isin(case.mask.mapped()[0][box], numbers), EVERYWHERE)
    image = case.images[0]
    z, y, x = facts.point_P3[np.isin(facts.of_P, np.flatnonzero(here))].T
    grey = image.mapped()[0][z, y, x].astype(np.float64).mean() * image.scale[0] + image.offset[0]
    ml = float(facts.count_L[here].sum() * np.prod(image.spacing) / 1000)
    return Marked(ml, int(pieces), bool((low == 0).any() or (high == case.shape).any()), float(grey))


Measured = Sequence[tuple[list[Marked | None], float | None]]


def _full(data: MaskData, rows: Sequence[int], names: Sequence[str]) -> list[Finding]:
    """Find masks that mark each voxel of their volume."""
    findings = []
    for row in rows:
        case = data.own[row]
        if case is not None and data.facts[row].count_L.sum() == np.prod(case.shape):
            findings.append(
                Finding(Problem("all_marked", names[row], "its mask marks all of the volume", "warning"), (row,))
            )
    return of_the_set(findings, len(rows), "have masks that mark all of the volume")


def _borders(rows: Sequence[int], names: Sequence[str], measured: Measured, classes: Sequence[str]) -> list[Finding]:
    """Find masks that reach the border of their volume: what they mark may go on beyond."""
    findings = []
    for row, (marked, _) in zip(rows, measured, strict=True):
        reaching = [name for name, one in zip(classes, marked, strict=True) if one is not None and one.borders]
        if reaching:
            detail = f"its mask of {', '.join(reaching)} reaches the border of the volume, so its volume is cut off"
            findings.append(Finding(Problem("border", names[row], detail, "note"), (row,)))
    return of_the_set(findings, len(rows), "have masks that reach the border of the volume")


def _odd(rows: Sequence[int], names: Sequence[str], measured: Measured, classes: Sequence[str]) -> list[Finding]:
    """Find masks far larger or smaller than the others of their class, or in many more pieces."""
    findings = []
    for number, name in enumerate(classes):
        own = [(row, one) for row, (marked, _) in zip(rows, measured, strict=True) if (one := marked[number])]
        if not own:
            continue
        usual, pieces = (float(np.median([getattr(one, key) for _, one in own])) for key in ("ml", "pieces"))
        for row, one in own:
            if one.ml > ODD * usual or one.ml < usual / ODD:
                detail = f"{name} has {one.ml:.3g} ml, in the others about {usual:.3g}"
                findings.append(Finding(Problem("odd_volume", names[row], detail, "warning"), (row,)))
            if one.pieces > PIECES * pieces:
                detail = f"{name} is in {one.pieces:,} pieces, in the others in about {pieces:g}: specks, perhaps"
                findings.append(Finding(Problem("odd_pieces", names[row], detail, "warning"), (row,)))
    return of_the_set(findings, len(rows), "have masks unlike the others'")


def marked_facts(measured: Measured, classes: Sequence[str]) -> dict[str, Any]:
    """Summarise masks by class for inspect.json: cases, ml, pieces, borders, grey levels within and outside.

    Args:
        measured: of each case its classes, and the mean grey level of what is not marked.
    """
    facts: dict[str, Any] = {}
    for number, name in enumerate(classes):
        own = [(one, outside) for marked, outside in measured if (one := marked[number]) is not None]
        facts[name] = {
            "cases": len(own),
            "ml": _three([one.ml for one, _ in own]),
            "pieces": _three([one.pieces for one, _ in own]),
            "borders": sum(one.borders for one, _ in own),
            "grey_within": _three([one.grey for one, _ in own]),
            "grey_outside": _three([outside for _, outside in own if outside is not None]),
        }
    return facts


def _three(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = np.quantile(np.array(values, np.float64), (0, 0.5, 1)).round(4).tolist()
    return {"smallest": low, "median": middle, "largest": high}
