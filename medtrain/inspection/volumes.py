"""Volumes inspected: the table they stand in, then spacings, extents, orientations, masks, and what these give away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.core.progress import Progress
from medtrain.data.batches.mask_fingerprint import STEP, in_hounsfield
from medtrain.data.batches.middle_slice import middle_sections, middle_slice
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patches import Case
from medtrain.data.batches.volume_files import notes_of
from medtrain.data.batches.volumes import VolumeData
from medtrain.inspection import Finding, Inspection, look
from medtrain.inspection.findings import Bars, no_bar, of_the_set
from medtrain.inspection.table import Looked
from medtrain.inspection.twins import Known, correlated, look_alikes
from medtrain.io.store.voxels import Stored
from medtrain.io.volume import OBLIQUE
from medtrain.metric import auroc

SHORTCUT = 0.7  # AUROC from which on something else than the picture tells the classes apart
CORRELATED, CHANCE = 0.35, 3.0  # the same of ranks of a quantity, and standard errors from which on it is no chance
FAR = 4.0  # times the median that a spacing or an extent may be, either way
AXES = ("D", "H", "W")
SAMPLED = 200  # volumes whose grey levels are looked at, about
GOOD_TO_KNOW = ("padding", "rounded_labels")  # notes of readers that are no warning


def inspect(data: VolumeData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect all there is to say of `data`, which need not be fit to train; masks are looked at in any case.

    Args:
        near: also look for volumes that look the same.
        progress: gives for the title of a pass what is called with (done, total) volumes.

    Raises:
        UsageError: the configuration does not fit the table, so that nothing can be said.
    """
    table = look(data)
    if isinstance(table, Inspection):
        return table
    rows, cases = [], []
    for row in table.seen.tolist():
        case = data.volumes[row]
        if case is not None:
            rows.append(row)
            cases.append(case)
    row_N = np.array(rows, np.int64)
    places = [table.places[row] for row in rows]
    table.findings += _noted(cases, rows, places)
    table.findings += _odd(cases, rows, places)
    table.findings += _masks(cases, rows, places, table.labels[row_N], has_masks=any(case.mask for case in cases))
    table.findings += _padded(cases, rows, data)
    used = table.split[row_N] != ""
    table.findings += shortcuts(geometry(cases), table.labels[row_N], data.spec.classes, used)
    of_row = dict(zip(rows, cases, strict=True))
    if "values" in data.spec.target.forms:
        table.findings += correlates(geometry(cases), table.manifest.targets[row_N], data.spec.classes, used)
    if near:
        table.findings += _alike(of_row, table, data.form, progress("comparing"))
    return table.outcome(
        data,
        images=_facts(cases),
        picture=lambda row: middle_slice(of_row[row], data.form) if row in of_row else None,
    )


def geometry(cases: Sequence[Case]) -> dict[str, NDArray[np.float64]]:
    """Describe volumes but for what they show: {feature: a value a case}."""
    shape = np.array([case.shape for case in cases], np.float64).reshape(-1, 3)
    extent = shape * np.array([case.images[0].spacing for case in cases]).reshape(-1, 3)
    stored = np.array([_in_space(case) for case in cases]).reshape(-1, 2, 3)
    features = {f"the extent along {axis}": extent[:, n] for n, axis in enumerate(AXES)}
    features |= {f"the spacing along {axis}": stored[:, 0, n] for n, axis in enumerate(AXES)}
    features |= {f"the number of voxels along {axis}": stored[:, 1, n] for n, axis in enumerate(AXES)}
    features["the size of the volume"] = extent.prod(1)
    return features


def shortcuts(
    features: dict[str, NDArray[np.float64]],
    labels_NC: NDArray[np.float64],
    classes: Sequence[str],
    used: NDArray[np.bool_],
) -> list[Finding]:
    """Warn where a feature tells a class from the others, with an AUROC of `SHORTCUT` or more."""
    findings = []
    first = 1 if len(classes) == 2 else 0  # of two classes one mirrors the other: it is enough to look at the second
    for number, name in list(enumerate(classes))[first:]:
        for what, values in features.items():
            area = auroc(values[used], labels_NC[used, number])
            if np.isfinite(area) and max(area, 1 - area) >= SHORTCUT:
                tells = f"tells {name!r} from the rest with an AUROC of {max(area, 1 - area):.3f}"
                findings.append(_shortcut(what, tells))
    return findings


def correlates(
    features: dict[str, NDArray[np.float64]], values: NDArray[Any], names: Sequence[str], used: NDArray[np.bool_]
) -> list[Finding]:
    """Warn where a feature goes with a quantity: as far as no chance explains, and as closely as `SHORTCUT` would be.

    Args:
        values: (N,) or (N, V) of the quantities `names`, NaN where unknown.
    """
    findings = []
    for name, value_N in zip(names, np.asarray(values, np.float64).reshape(len(used), -1).T, strict=True):
        known = used & np.isfinite(value_N)
        least = max(CORRELATED, CHANCE / np.sqrt(max(1, known.sum() - 1)))
        for what, feature_N in features.items():
            if known.sum() < 3 or not (np.ptp(feature_N[known]) and np.ptp(value_N[known])):
                continue
            rho = float(scipy.stats.spearmanr(feature_N[known], value_N[known]).statistic)
            if abs(rho) >= least:
                findings.append(_shortcut(what, f"goes with {name!r} (Spearman's correlation {rho:.2f})"))
    return findings


def _shortcut(what: str, tells: str) -> Finding:
    detail = (
        f"{what} alone {tells}: a model can learn it in place of what the volumes show; give all inputs one extent "
        "(data.fov, data.center) and try data.control=constant and noise"
    )
    return Finding(Problem("shortcut", what, detail, "warning"))


def _in_space(case: Case) -> list[list[float]]:
    """Read spacing and voxels of the file itself along D, H, W: its axes in the order of the body's."""
    source = case.images[0].source
    order = [next(n for n, c in enumerate(source.orientation) if c in pair) for pair in ("SI", "AP", "LR")]
    return [[source.spacing[n] for n in order], [float(source.shape[n]) for n in order]]


def _odd(cases: Sequence[Case], rows: Sequence[int], places: Sequence[str]) -> list[Finding]:
    """Find volumes unlike the others in spacing or extent, and oblique ones."""
    if not cases:
        return []
    findings, values = [], geometry(cases)
    for what in (name for name in values if "number" not in name and "size" not in name):
        usual = float(np.median(values[what]))
        for n in np.flatnonzero((values[what] > FAR * usual) | (values[what] < usual / FAR)).tolist():
            detail = f"{what} is {values[what][n]:.4g} mm, of the others about {usual:.4g}"
            findings.append(Finding(Problem("odd_geometry", places[n], detail, "warning"), (rows[n],)))
    findings = of_the_set(findings, len(cases), "differ much in their geometry")
    oblique = [
        Finding(
            Problem(
                "oblique",
                places[n],
                f"{case.images[0].source.oblique:.0f} degrees from the axes of the body that its own are taken for",
                "note",
            ),
            (rows[n],),
        )
        for n, case in enumerate(cases)
        if case.images[0].source.oblique >= OBLIQUE
    ]
    return findings + of_the_set(oblique, len(cases), "are oblique; their axes are taken as the body's nearest")


def _noted(cases: Sequence[Case], rows: Sequence[int], places: Sequence[str]) -> list[Finding]:
    """Find what their readers have noted on volumes: constant ones, extreme voxels, places in doubt."""
    notes, findings = [notes_of(case) for case in cases], []
    for kind in dict.fromkeys(kind for own in notes for kind in own):
        severity = "note" if kind in GOOD_TO_KNOW else "warning"
        some = [
            Finding(Problem(kind, place, own[kind], severity), (row,))
            for own, row, place in zip(notes, rows, places, strict=True)
            if kind in own
        ]
        findings += some if severity == "warning" else of_the_set(some, len(rows), "are like that")
    return findings


def _alike(of_row: Mapping[int, Case], table: Looked, form: PatchForm, progress: Progress | None) -> list[Finding]:
    """Group volumes of other content that look the same, by sections through their middle."""
    rows = np.array(list(of_row), np.int64)
    rows = rows[~pd.Series(table.content[rows]).duplicated().to_numpy()]
    sections = []
    for n, row in enumerate(rows.tolist(), start=1):
        sections.append(middle_sections(of_row[row], form).ravel())
        if progress is not None:
            progress(n, len(rows))
    if not sections:
        return []
    pairs = correlated(np.array(sections, np.float32))
    return look_alikes(pairs, rows, Known(table.split, table.labels, table.places))


def _masks(
    cases: Sequence[Case], rows: Sequence[int], places: Sequence[str], labels_NC: NDArray[np.float64], has_masks: bool
) -> list[Finding]:
    """Find empty masks, cases that lack one where others have it, and of two classes masks against the label."""
    findings = []
    for n, case in enumerate(cases) if has_masks else ():
        if case.mask is None:
            findings.append(
                Finding(Problem("no_mask", places[n], "no mask, where others have one", "note"), (rows[n],))
            )
        elif not case.mask.marked:
            positive = bool(labels_NC.shape[1] == 2 and labels_NC[n, -1] == 1)
            detail = "its mask marks nothing" + ", though the case is positive" * positive
            problem = Problem("empty_mask", places[n], detail, "warning" if positive else "note")
            findings.append(Finding(problem, (rows[n],)))
    return findings


def _padded(cases: Sequence[Case], rows: Sequence[int], data: VolumeData) -> list[Finding]:
    """Make one note of all volumes that are smaller than a patch."""
    size = data.form.size
    small = [n for n, case in enumerate(cases) if any(a < b for a, b in zip(case.shape, size, strict=True))]
    if not small:
        return []
    detail = (
        f"{len(small):,} of {len(cases):,} volumes are smaller than a patch of {' x '.join(map(str, size))} voxels and "
        f"padded (data.padding={data.form.padding}), which shows their extent"
    )
    return [Finding(Problem("padded", "the whole set", detail, "note"), tuple(rows[n] for n in small))]


def _facts(cases: Sequence[Case]) -> dict[str, Any]:
    """Summarise sizes, spacings, orientations and formats for inspect.json, and the size of the cache."""
    if not cases:
        return {"measured": 0}
    sources = [case.images[0].source for case in cases]
    shape = np.array([source.shape for source in sources])
    spacing = np.array([source.spacing for source in sources])
    stored = [image for case in cases for image in (*case.images, *filter(None, [case.mask]))]

    def ends(values: NDArray[Any], digits: int) -> dict[str, Any]:
        three = {"smallest": values.min(0), "median": np.median(values, 0), "largest": values.max(0)}
        return {name: np.round(side, digits).tolist() for name, side in three.items()}

    return {
        "measured": len(cases),
        "unit": "voxels",
        "size": ends(shape, 0),
        "spacing_mm": ends(spacing, 3),
        "extent_mm": ends(shape * spacing, 1),
        "in_space": _facts_in_space(cases),
        "orientation": dict(Counter(source.orientation for source in sources).most_common()),
        "format": dict(Counter(source.format for source in sources).most_common()),
        "bits": dict(Counter(source.dtype for source in sources).most_common()),
        "channels": {str(n): count for n, count in Counter(case.channels for case in cases).most_common()},
        "masks": sum(case.mask is not None for case in cases),
        "hounsfield": _grey([case.images[0] for case in cases]),
        "cache_bytes": int(sum(np.prod(image.shape) * np.dtype(image.dtype).itemsize for image in stored)),
    }


def _grey(images: Sequence[Stored]) -> list[float]:
    """Give the Hounsfield units between which all but one in a hundred voxels lie; [] where values are others."""
    if not in_hounsfield(images):
        return []
    some = images[:: max(1, len(images) // SAMPLED)]
    steps = (slice(0, 1), slice(None, None, STEP), slice(None, None, STEP), slice(None, None, STEP))
    values = [image.mapped()[steps].ravel() * image.scale[0] + image.offset[0] for image in some]
    return np.percentile(np.concatenate(values), (0.5, 99.5)).round().tolist()


def _facts_in_space(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Give, along D, H, W, medians of spacing (mm) and voxels, and extents in mm: the least, and of nine in ten."""
    spacing_N3, voxels_N3 = np.moveaxis(np.array([_in_space(case) for case in cases]), 1, 0)
    medians = {"spacing_mm": np.median(spacing_N3, 0), "voxels": np.median(voxels_N3, 0)}
    extent_N3 = spacing_N3 * voxels_N3
    extents = {"least_extent_mm": extent_N3.min(0), "usual_extent_mm": np.percentile(extent_N3, 90, axis=0)}
    return {name: values.tolist() for name, values in (medians | extents).items()}
