"""The files of volumes' cases: read into the cache, and what does not fit together told by case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.core.progress import Progress
from medtrain.data.batches.patches import Case
from medtrain.io.cache_root import cache_root
from medtrain.io.content import of_several
from medtrain.io.store.voxels import Stored, VolumeForm, cache_volumes
from medtrain.io.volume import Notes, farthest

APART = 0.25  # voxels by which the files of a case may place one of them apart: as rounded headers do


@dataclass
class CaseFiles:
    """Cases by number, from cached files.

    Attributes:
        cases: None where a file cannot be used.
        problems: why, by number.
        content: the number of the first case with the same first image, for each.
        identities: what each case's images are together, by `medtrain.io.content`; masks don't count.
        notes: what is worth telling of a case's files, by number: a kind and a sentence each.
        read: how many files were read now.
    """

    cases: list[Case | None]
    problems: dict[int, str] = field(default_factory=dict)
    notes: dict[int, Notes] = field(default_factory=dict)
    content: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    identities: list[str] = field(default_factory=list)
    read: int = 0


def read_cases(
    images: Sequence[Sequence[str]],
    masks: Sequence[str] | None,
    form: VolumeForm,
    cfg: Mapping[str, Any],
    progress: Progress | None = None,
    report: Callable[[str], None] = print,
) -> CaseFiles:
    """Read the files of N cases, or find them in the cache.

    Args:
        images: N paths for each image that a case has.
        masks: N paths, '' for none; None where masks are of no use.
        form: of the images; masks are kept at the same spacing.
        cfg: the data node (cache_dir).
    """
    root, number = cache_root(cfg.get("cache_dir")), len(images[0])
    paths = [path for column in images for path in column]
    cache = cache_volumes(paths, form, root, progress, report=report)
    named = {n: path for n, path in enumerate(masks or ()) if path}
    of_masks = VolumeForm(form.spacing, mask=True)
    marks = cache_volumes(list(named.values()), of_masks, root, progress, report=report)
    mark_of = {n: position for position, n in enumerate(named)}
    identities = cache.identities
    files = CaseFiles([], content=cache.content[:number], read=cache.decoded + marks.decoded)
    files.identities = [of_several(identities[n::number]) for n in range(number)]
    for n in range(number):
        own, mark = range(n, len(paths), number), mark_of.get(n)
        faults = [cache.problems[image] for image in own if image in cache.problems]
        if mark is not None and mark in marks.problems:
            faults.append(f"its mask: {marks.problems[mark]}")
        case = None
        if not faults and all(cache.stored[image] is not None for image in own):  # else it is closed
            case = Case(tuple(cache[image] for image in own), None if mark is None else marks[mark])
            faults = unlike(case)
        files.cases.append(None if faults else case)
        if faults:
            files.problems[n] = "; ".join(faults)
        elif notes := notes_of(case):
            files.notes[n] = notes
    return files


def as_warnings(notes: Mapping[int, Notes], where: Sequence[str]) -> list[Problem]:
    """Put notes on cases together, one warning a kind.

    Args:
        where: a place for each case.
    """
    kinds = dict.fromkeys(kind for own in notes.values() for kind in own)
    warnings = []
    for kind in kinds:
        first, *more = (n for n, own in notes.items() if kind in own)
        others = f"; {len(more):,} other volumes likewise" * bool(more)
        warnings.append(Problem(kind, where[first], notes[first][kind] + others, "warning"))
    return warnings


def notes_of(case: Case | None) -> Notes:
    """Collect the notes on the files of a case, the mask's marked as such."""
    if case is None:
        return {}
    own = {kind: text for image in reversed(case.images) for kind, text in image.notes.items()}
    mask = {} if case.mask is None else case.mask.notes
    return own | {kind: f"its mask: {text}" for kind, text in mask.items() if kind not in own}


def unlike(case: Case) -> list[str]:
    """Say what of a case lies elsewhere than its first image."""
    first = case.images[0].source
    others = [("another image of the case", image) for image in case.images[1:]]
    others += [("its mask", case.mask)] if case.mask is not None else []
    faults = []
    for what, other in others:
        if sorted(other.source.shape) != sorted(first.shape):
            sizes = [" x ".join(map(str, source.shape)) for source in (other.source, first)]
            faults.append(f"{what} has {sizes[0]} voxels, the image {sizes[1]}")
        elif other.shape[1:] != case.shape:
            grids = [f"{' x '.join(f'{mm:.4g}' for mm in s.spacing)} mm {s.orientation}" for s in (other.source, first)]
            faults.append(f"{what} lies elsewhere than the image: its voxels are {grids[0]}, the image's {grids[1]}")
        else:
            apart = _apart(case.images[0], other)
            if apart > APART * min(first.spacing):
                faults.append(f"{what} lies elsewhere than the image: their affines differ by up to {apart:.3g} mm")
    return faults


def _apart(one: Stored, other: Stored) -> float:
    """Measure how far apart two files place one voxel, in mm, the most; also where both were brought to one spacing."""
    apart = farthest(one.affine, other.affine, one.shape[:0:-1])
    if not np.allclose(one.spacing, other.spacing, rtol=1e-6):
        return apart  # as in the files
    first, second = (
        np.sort([(n - 1) * mm for n, mm in zip(s.shape, s.spacing, strict=True)]) for s in (one.source, other.source)
    )
    return apart + float(np.linalg.norm(first - second)) / 2  # the middles differ, and from there the ends
