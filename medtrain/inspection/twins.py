"""The same picture twice: as the same file, or as another file that looks the same (saved anew, scaled, brightened)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medtrain.core.errors import Problem
from medtrain.core.progress import Progress
from medtrain.data.leakage import disagree, others, repeated, twins
from medtrain.inspection.findings import Finding
from medtrain.inspection.measures import Box, Measures, Pixels, shrunk

DISTANCE = 20  # bits of 256
CORRELATION = 0.99  # of pictures of 64 x 64 pixels
CANDIDATES = 4  # nearest earlier pictures that are compared with each
BLOCK, CHUNK = 64, 2048  # hashes compared at a time: their differences stay in the processor's cache

Rows = NDArray[np.int64]


class Known(NamedTuple):
    """What is known of every row of the data: '' and NaN where it cannot be used.

    Args:
        split_N: names.
        targets: (N, S) indicators, NaN unknown (`medtrain.target.Target.strata`).
        places: file and row.
    """

    split_N: NDArray[np.str_]
    targets: NDArray[np.float64]
    places: Sequence[str]


def duplicates(
    rows: Rows, content: Rows, split_N: NDArray[np.str_], targets: NDArray[np.float64], places: Sequence[str]
) -> list[Finding]:
    """Find equal files within a split (``duplicate``), and with different labels (``label_conflict``).

    Equal files in two splits are a leak, which `medtrain.data.leakage` finds.

    Args:
        rows: those of the data that can be used; the next three have an entry each.
        targets: (N, C) indicators, NaN unknown (`medtrain.target.Target.indicators`).
        places: file and row of every row of the data.
    """
    problems = twins(content, split_N, targets, [places[row] for row in rows])
    return [Finding(problem, tuple(rows[group].tolist())) for problem, group in problems]


def near_duplicates(
    measures: Measures,
    pictures: Pixels,
    boxes: Sequence[Box],
    first_M: NDArray[np.bool_],
    known: Known,
    progress: Progress | None = None,
) -> list[Finding]:
    """Group pictures that look the same: a warning where they stand in two splits or differ in their label.

    Args:
        boxes: as of `measure`.
        first_M: pictures to compare: the first of each content.
        known: of every row of the data.
        progress: called with (done, total) pictures.
    """
    compared = np.flatnonzero(first_M & ~measures.flat)
    pairs = [
        (early, late)
        for late, earlier in candidates(measures.hash[compared], progress)
        for early in earlier.tolist()
        if _alike(pictures, measures, boxes, int(compared[early]), int(compared[late]))
    ]
    return look_alikes(pairs, measures.row[compared], known)


def look_alikes(pairs: list[tuple[int, int]], rows_M: Rows, known: Known) -> list[Finding]:
    """Make findings of pairs that look the same, one a group.

    Args:
        pairs: positions in `rows_M`.
        known: of every row of the data.
    """
    split_N, targets, places = known
    findings = []
    for members in repeated(_joined(pairs, len(rows_M))):
        rows = rows_M[members]
        parts = [name for name in dict.fromkeys(split_N[rows].tolist()) if name]
        detail = f"looks the same as {others(places, rows)}" + f" ({' and '.join(parts)})" * (len(parts) > 1)
        severity, where = "warning" if len(parts) > 1 else "note", tuple(rows.tolist())
        findings.append(Finding(Problem("near_duplicate", places[rows[0]], detail, severity), where))
        if disagree(targets[rows]):
            detail = f"looks the same as {others(places, rows)}, but has another label"
            findings.append(Finding(Problem("label_conflict", places[rows[0]], detail, "warning"), where))
    return findings


def correlated(pictures_MP: NDArray[np.float32]) -> list[tuple[int, int]]:
    """List the pairs of pictures, a row of pixels each, that correlate by `CORRELATION` or more; flat ones don't."""
    x = pictures_MP - pictures_MP.mean(1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(x), CHUNK):
        late, early = np.nonzero(x[start : start + CHUNK] @ x[: start + CHUNK].T >= CORRELATION)
        pairs += [(int(i), int(j) + start) for j, i in zip(late, early, strict=True) if i < j + start]
    return pairs


def candidates(hash_M4: NDArray[np.uint64], progress: Progress | None) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (number, numbers of the nearest earlier pictures) where two hashes differ by `DISTANCE` bits at most.

    All pairs are compared, by the most telling 64 bits first: 5e9 pairs of 100,000 pictures take half a minute, where
    trees and buckets fail because chest films share most of what a hash says.
    """
    words = _telling(hash_M4)
    total, first = len(words), np.ascontiguousarray(words[:, 0])
    for start in range(0, total, BLOCK):
        stop = min(start + BLOCK, total)
        late, early = [], []
        for left in range(0, stop, CHUNK):
            right = min(left + CHUNK, stop)
            near = np.bitwise_count(first[start:stop, None] ^ first[None, left:right]) <= DISTANCE
            i, j = np.divmod(np.flatnonzero(near), right - left)  # several times as fast as np.nonzero
            late.append(i + start)
            early.append(j + left)
        i, j = np.concatenate(late), np.concatenate(early)
        i, j = i[j < i], j[j < i]  # each pair once, and none of a picture with itself
        apart = np.bitwise_count(words[i] ^ words[j]).sum(1)
        i, j, apart = i[apart <= DISTANCE], j[apart <= DISTANCE], apart[apart <= DISTANCE]
        order = np.lexsort((apart, i))
        for number, nearest in pd.Series(j[order]).groupby(i[order]):
            yield int(number), nearest.to_numpy()[:CANDIDATES]
        if progress is not None:
            progress(stop, total)


def _telling(hash_M4: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Reorder the bits of hashes: those first that halve the set."""
    bits = np.unpackbits(hash_M4.view(np.uint8), axis=1)
    order = np.argsort(np.abs(bits.mean(0) - 0.5), kind="stable")
    return np.packbits(np.ascontiguousarray(bits[:, order]), axis=1).view(np.uint64)


def _alike(pictures: Pixels, measures: Measures, boxes: Sequence[Box], *pair: int) -> bool:
    """Tell whether two measured pictures correlate pixel by pixel."""
    a, b = (shrunk(pictures[[measures.row[m]]][0][:, *boxes[m]]).astype(np.float64).ravel() for m in pair)
    return bool(np.corrcoef(a, b)[0, 1] >= CORRELATION)


def _joined(pairs: list[tuple[int, int]], total: int) -> NDArray[np.int64]:
    """Number each of `total` pictures, alike those that pairs connect."""
    edges = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs), bool), (edges[0], edges[1])), shape=(total, total))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
