"""No volume is decoded twice: each content once in each form, as a file of voxels that all who train map into memory.

Volumes are read, turned, resampled and written by several processes, not threads: a file that brings its decoder down
takes no training with it, and a giant's memory goes back to the system. A file of voxels is written beside its place
and renamed, so it is whole or not there; its facts come into the index then.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.core.progress import Progress, to_stderr
from medtrain.io.content import LABELS, VOXELS, first_with_same
from medtrain.io.files import atomic_path
from medtrain.io.stats import absolute
from medtrain.io.store.files import mapped
from medtrain.io.store.fill import ChangedError, Codec, keep
from medtrain.io.store.index import FACTS, Place
from medtrain.io.store.segment import Segment
from medtrain.io.store.voxel_limits import Ends
from medtrain.io.store.voxel_values import Box, prepared_image, prepared_mask
from medtrain.io.volume import Notes, Source, Triple, VolumeError
from medtrain.io.volume_source import content_of, read_volume, state_of

VERSION = 7  # of reading, resampling and keeping: raise it when the same file gives other voxels or another identity
ALONE = 8 << 20  # bytes of files that are not worth starting processes


@dataclass(frozen=True)
class VolumeForm:
    """What is stored of a volume.

    Args:
        spacing: mm a voxel along D, H, W; None keeps the file's.
        mask: labels, kept as they are and by the nearest voxel.
        window: the values that are shown, where that is known: what is no whole number is stored by it.
    """

    spacing: Triple | None = None
    mask: bool = False
    window: Ends | None = None

    @property
    def folder(self) -> str:
        """Name the folder of all volumes in this form."""
        digest = hashlib.sha256(repr([VERSION, asdict(self)]).encode()).hexdigest()[:12]
        spacing = "native" if self.spacing is None else "x".join(f"{step:g}" for step in self.spacing)
        return f"{'mask' if self.mask else 'image'}_{spacing}_{digest}"


@dataclass(frozen=True)
class Stored:
    """A volume in the cache. Its values are ``stored * scale + offset``, with one scale and offset a channel.

    Attributes:
        file: its voxels in the order C, D, H, W, int16, or of a mask uint8 or uint16; named by the volume's content.
        shape: (C, D, H, W).
        affine: as of `Volume`.
        spacing: mm along D, H, W.
        low, high: a channel each, the 0.5th and 99.5th percentile within `box`.
        box: first and last + 1 along D, H, W of what is no background; of a mask, of what it marks (0 to 0 if nothing).
        marked: voxels that a mask marks.
        source: the file that it was made from.
        identity: what its voxels are as read, whatever was stored of them (`medtrain.io.content`).
        notes: what is worth telling of it.
    """

    file: Path
    shape: tuple[int, int, int, int]
    dtype: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    affine: NDArray[np.float64]
    spacing: Triple
    low: tuple[float, ...]
    high: tuple[float, ...]
    box: Box
    marked: int
    source: Source
    identity: str
    notes: Notes

    @classmethod
    def of(cls, folder: Path, facts: dict[str, Any]) -> Stored:
        """Make one of the facts that a store has of it."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items() if k != "stop"}
        plain |= {"affine": np.array(facts["affine"]), "source": Source.from_dict(facts["source"])}
        return cls(**plain | {"file": folder / facts["file"], "box": tuple(tuple(ends) for ends in facts["box"])})

    def mapped(self) -> NDArray[Any]:
        """Give the stored voxels (C, D, H, W), mapped as long as the array lives: pages leave the process with it."""
        return mapped(self.file).view(self.dtype).reshape(self.shape)

    def values(self) -> NDArray[np.float32]:
        """Give the whole volume in its own units, (C, D, H, W)."""
        scale, offset = (np.array(values, np.float32).reshape(-1, 1, 1, 1) for values in (self.scale, self.offset))
        return np.asarray(self.mapped() * scale + offset, np.float32)


@dataclass
class VolumeCache:
    """Volumes by number.

    Attributes:
        stored: a volume each, None for what is none, or closed.
        identities: what each volume is, by `medtrain.io.content`; '' of problems.
        problems: why a file is no volume, by number.
        decoded: how many volumes were read now.
    """

    stored: list[Stored | None]
    identities: list[str]
    problems: dict[int, str]
    decoded: int

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def content(self) -> NDArray[np.int64]:
        """Give (N,) the number of the first volume of the same voxels; problems are like no other."""
        return first_with_same(self.identities)

    def __getitem__(self, number: int) -> Stored:
        stored = self.stored[number]
        if stored is None:
            raise KeyError(f"volume {number}: {self.problems[number]}")
        return stored


class VoxelCodec(Codec):
    """Volumes in one form, a file of voxels each.

    Args:
        root: of all caches.
    """

    packages = ("medtrain", "nibabel", "pydicom", "python-gdcm")
    commit_seconds = 0.0
    pool: ProcessPoolExecutor | None = None

    def __init__(self, form: VolumeForm, root: Path) -> None:
        self.form, self.folder = form, root / "volumes" / form.folder

    def state(self, path: str) -> tuple[int, int]:
        """Read size and time of a file, or of those in a folder."""
        return state_of(path)

    def digest(self, path: str) -> bytes:
        """Compute the hash of a file, or of those in a folder."""
        return content_of(path)

    @contextmanager
    def working(self, paths: Sequence[str], workers: int) -> Iterator[int]:
        """Start the processes; a few small files are read in this one."""
        if workers < 2 or len(paths) < 2 or sum(max(0, state_of(path)[0]) for path in paths) < ALONE:
            yield 1
            return
        # Started afresh: a copy of a process with threads may wait for a lock that no thread of its own will open.
        self.pool = ProcessPoolExecutor(min(workers, len(paths)), get_context("spawn"))
        try:
            yield min(workers, len(paths))
        except BrokenProcessPool:
            raise MedtrainError(
                "a process that reads volumes has died, perhaps for want of memory; what is done is kept: start again"
            ) from None
        finally:
            self.pool.shutdown(cancel_futures=True)

    def read(self, path: str, content: bytes, state: tuple[int, int]) -> dict[str, Any]:
        """Write the voxels of a file; returns the facts."""
        work = (path, self.form, self.folder / f"{content.hex()}.vol", state)
        return write_voxels(*work) if self.pool is None else self.pool.submit(write_voxels, *work).result()

    def write(self, segment: Segment, read: dict[str, Any]) -> Place:
        """Add the facts of a volume."""
        return segment.add_text(FACTS, read, read["identity"])


def write_voxels(path: str, form: VolumeForm, file: Path, state: tuple[int, int]) -> dict[str, Any]:
    """Read a volume and write its voxels; returns the facts of `Stored` as plain values.

    Raises:
        VolumeError: it is none.
        ChangedError: it is no longer in `state`.
    """
    try:  # nothing here holds the volume, so that it goes as soon as there is another one in its place
        if form.mask:
            stored_CDHW, facts = prepared_mask(read_volume(path), form.spacing)
        else:
            stored_CDHW, facts = prepared_image(read_volume(path), form.spacing, form.window)
    except (VolumeError, MemoryError):
        raise
    except Exception as error:  # as of `read_volume`
        raise VolumeError(f"its voxels cannot be stored ({type(error).__name__}: {error})") from error
    if state_of(path) != state:
        raise ChangedError
    with atomic_path(file) as temporary, open(temporary, "wb") as out:
        for channel in stored_CDHW:
            out.write(np.ascontiguousarray(channel).data)
    own = {"file": file.name, "stop": stored_CDHW.nbytes, "dtype": stored_CDHW.dtype.name}
    return own | {"shape": list(stored_CDHW.shape)} | facts


def cache_volumes(
    paths: Sequence[str | os.PathLike[str]],
    form: VolumeForm,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = to_stderr,
) -> VolumeCache:
    """Open the volumes `paths` (NIfTI files, folders of a DICOM series) in `form`; what is not in the cache is read.

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
    states = np.array([state_of(path) for path in files], np.int64).reshape(-1, 2)
    entries = keep(files, states, VoxelCodec(form, folder), progress, workers, report)
    identities = entries.identities(LABELS if form.mask else VOXELS)
    return VolumeCache(entries.opened(Stored.of), identities, entries.problems, entries.decoded)
