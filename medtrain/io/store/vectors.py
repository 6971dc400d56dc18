"""Features of pieces of cases in the store, found by what they were made of; the form in which probes read them.

A network that never changes gives the same features of the same pixels, so they are computed once: one folder holds
those of one encoder and one way of cutting, by the content of each case. Several processes may want them at once: one
computes, the others wait. What is done is safe on the disk every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.progress import Progress
from medtrain.io.cache_root import writing_to
from medtrain.io.content import of_features
from medtrain.io.store.features import PackedBags
from medtrain.io.store.files import Table, file_records
from medtrain.io.store.fill import COMMIT_SECONDS
from medtrain.io.store.index import FACTS, Index, Place
from medtrain.io.store.lock import only_one
from medtrain.io.store.segment import Segment

VERSION = 1  # of keeping: raise it when the same case gives other features


@dataclass(frozen=True)
class Cases:
    """What features are made of, by number.

    Args:
        names: what a case is known by from one start to the next: a path, or a hash of its content.
        states: (N, 2) size and time of the files of these paths; zeros of hashes, which never change.
        content: number -> hash of all that its features depend on, of 16 bytes.
        encode: numbers of a few cases -> (n, D) float32 of the pieces of each.
        at_once: how many cases `encode` takes.
    """

    names: Sequence[str]
    states: NDArray[np.int64]
    content: Callable[[int], bytes]
    encode: Callable[[Sequence[int]], Sequence[NDArray[np.float32]]]
    at_once: int = 1


def keep_vectors(
    folder: Path,
    cases: Cases,
    problems: dict[int, str],
    progress: Progress | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> PackedBags:
    """Open the features of these cases, a bag each; what the folder lacks is computed first.

    Args:
        folder: of one encoder and way of cutting.
        problems: cases that have none, by number, and why.
        progress: called with (done, total) cases while they are computed.
        report: takes a line that says whom we wait for.

    Raises:
        MedtrainError: the folder cannot be written, or the disk is full.
    """
    index, files, computed = Index(folder, ("medtrain", "torch")), file_records(cases.names, cases.states), 0

    def missing() -> list[int]:
        return [n for n in np.flatnonzero(index.find_files(files) < 0).tolist() if n not in problems]

    if missing():
        with writing_to(folder.parent):
            folder.mkdir(parents=True, exist_ok=True)
            with only_one(folder / "lock", report):
                index.load()  # with what another has added while we waited
                if todo := missing():
                    with Segment(index) as segment:
                        computed = _fill(segment, index, cases, files, todo, progress)
        index.load()
    rows = index.find_files(files)
    bags = [None if n in problems else index.text(index.table[row]) for n, row in enumerate(rows.tolist())]
    located = [facts if facts is None else facts | {"file": folder / facts["file"]} for facts in bags]
    return PackedBags(located, dict(problems), computed)


def _fill(
    segment: Segment, index: Index, cases: Cases, files: Table, todo: list[int], progress: Progress | None
) -> int:
    """Compute the features of these cases into a segment, each content once; returns how many were computed."""
    added: dict[bytes, Place] = {}
    computed, committed = 0, time.monotonic()
    for start in range(0, len(todo), cases.at_once):
        part = todo[start : start + cases.at_once]
        contents = {n: cases.content(n) for n in part}
        new = {
            content: n for n, content in reversed(contents.items()) if not (content in added or _known(index, content))
        }
        for (content, _), x_ND in zip(new.items(), cases.encode(list(new.values())), strict=True):
            facts: dict[str, Any] = {"geometry": {}, "identity": of_features(x_ND)}
            name, first = segment.add_array(x_ND)
            facts |= {"file": name, "x": (first, x_ND.shape, x_ND.dtype.str), "stop": first + x_ND.nbytes}
            added[content] = segment.add_text(FACTS, facts, str(facts["identity"]))
            computed += 1
        for n, content in contents.items():
            place = added.get(content) or index.find_content(content)
            assert place is not None
            segment.note(files[n], content, place)
        if time.monotonic() - committed > COMMIT_SECONDS:
            segment.commit()
            committed = time.monotonic()
        if progress is not None:
            progress(min(start + cases.at_once, len(todo)), len(todo))
    return computed


def _known(index: Index, content: bytes) -> bool:
    return index.find_content(content) is not None
