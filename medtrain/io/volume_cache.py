"""No volume is decoded twice: each content once in each form, as a file that all who train map into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.cache_root import writing_to
from medtrain.io.content import first_with_same
from medtrain.io.image_fill import to_stderr
from medtrain.io.only_one import only_one
from medtrain.io.remembered import Remembered
from medtrain.io.stats import absolute
from medtrain.io.volume_file import Stored, read_stored
from medtrain.io.volume_fill import READERS, Progress, VolumeForm, fill, state_of


@dataclass
class VolumeCache:
    """Volumes by number.

    Attributes:
        stored: a volume each, None for what is none.
        problems: why a file is no volume, by number.
        content: (N,) the number of the first volume of the same voxels; problems are like no other.
        decoded: how many files were read now.
    """

    stored: list[Stored | None]
    problems: dict[int, str]
    decoded: int

    @property
    def content(self) -> NDArray[np.int64]:
        return first_with_same(self.identities)

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def identities(self) -> list[str]:
        """What each volume is, by `medtrain.io.content`; '' of problems."""
        return ["" if one is None else one.identity for one in self.stored]

    def __getitem__(self, number: int) -> Stored:
        found = self.stored[number]
        if found is None:
            raise KeyError(f"volume {number}: {self.problems[number]}")
        return found


def cache_volumes(
    paths: Sequence[str | os.PathLike[str]],
    form: VolumeForm,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = to_stderr,
) -> VolumeCache:
    """The volumes `paths` (NIfTI files, folders of a DICOM series) in `form`; what is not in the cache is read now.

    Args:
        paths: a volume each; missing and unreadable ones become `VolumeCache.problems`.
        folder: the root of all caches (see `cache_root`).
        progress: called with (done, total) of the new files.
        workers: reading processes; by default one a core.
        report: is told whom we wait for.

    Raises:
        MedtrainError: the cache folder cannot be written or is full, or a reading process died.
    """
    files = absolute(paths)
    place, memory = folder / "volumes" / form.folder, Remembered(folder / "volumes" / "contents.npy", 32)
    states = np.array([state_of(path) for path in files], np.int64).reshape(-1, 2)
    reasons = dict.fromkeys(np.flatnonzero(states[:, 0] < 0).tolist(), "no such file")

    def missing() -> tuple[list[str], list[int]]:
        """The content of each file ('' unknown), and the first file of each that has yet to be read."""
        contents = [content or "" for content in memory.recall(files, states)]
        known = {c: read_stored(place / f"{c}.vol", READERS) is not None for c in set(contents) - {""}}
        seen: set[str] = set()
        new = []
        for n, content in enumerate(contents):
            key = content or files[n]
            if n not in reasons and not known.get(content, False) and key not in seen:
                seen.add(key)
                new.append(n)
        return contents, new

    contents, new = missing()
    if new:
        with writing_to(folder / "volumes"):
            place.mkdir(parents=True, exist_ok=True)
            with only_one(place / "lock", report):
                contents, new = missing()  # without what another has read while we waited
                results = fill([files[n] for n in new], form, place, progress, workers or os.cpu_count() or 1)
                reasons |= {n: reason for n, (_, reason) in zip(new, results, strict=True) if reason}
                named = [(n, content) for n, (content, _) in zip(new, results, strict=True) if content]
                rows = [n for n, _ in named]
                memory.add([files[n] for n in rows], states[rows], [content for _, content in named])
        contents = [content or "" for content in memory.recall(files, states)]
        for n, content in named:
            contents[n] = content
    return _open(place, contents, reasons, len(new))


def _open(place: Path, contents: list[str], reasons: dict[int, str], decoded: int) -> VolumeCache:
    opened = {content: read_stored(place / f"{content}.vol", READERS) for content in set(contents) - {""}}
    stored: list[Stored | None] = []
    for n, content in enumerate(contents):
        found = opened.get(content)
        stored.append(found if isinstance(found, Stored) else None)
        if not isinstance(found, Stored) and n not in reasons:
            reasons[n] = found or "changed while it was read"
    return VolumeCache(stored, reasons, decoded)
