"""From files to cached volumes: read, turned, resampled and stored by several processes, each content once.

A volume is safe on the disk as soon as it is done, so whoever is killed goes on where it stopped. Processes, not
threads: a file that brings its decoder down takes no training with it, and a giant's memory goes back to the system.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.io.content import of_voxels
from medtrain.io.dicom import dicom_files
from medtrain.io.dicom_series import read_series
from medtrain.io.image_store import readers
from medtrain.io.nifti import read_channels, read_nifti
from medtrain.io.resample import to_spacing
from medtrain.io.volume import Triple, Volume, VolumeError
from medtrain.io.volume_file import Box, read_stored, write_reason, write_stored

VERSION = 2  # of reading and resampling: raise it when the same file gives other voxels or another identity
READERS = readers(("medtrain", "nibabel", "pydicom", "python-gdcm"))
ALONE = 8 << 20  # bytes of files that are not worth starting processes
SAMPLE = 1 << 21  # voxels that background and percentiles are found by
PERCENTILES = (0.5, 99.5)
FOREGROUND = 0.01  # of a plane's voxels that make it one of the foreground
CHANGED = "changed while it was read"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class VolumeForm:
    """What is stored of a volume.

    Args:
        spacing: mm a voxel along D, H, W; None keeps the file's.
        mask: labels, kept as they are and by the nearest voxel.
    """

    spacing: Triple | None = None
    mask: bool = False

    @property
    def folder(self) -> str:
        """The name of the folder of all volumes in this form."""
        digest = hashlib.sha256(repr([VERSION, asdict(self)]).encode()).hexdigest()[:12]
        spacing = "native" if self.spacing is None else "x".join(f"{step:g}" for step in self.spacing)
        return f"{'mask' if self.mask else 'image'}_{spacing}_{digest}"


def fill(
    todo: Sequence[str], form: VolumeForm, folder: Path, progress: Progress | None, workers: int
) -> list[tuple[str, str]]:
    """Store what is new of these files under `folder`.

    Returns:
        a file each, (content, reason): the hash that names its volume, and '' or why it has none yet.

    Raises:
        MedtrainError: a reading process died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: list[tuple[str, str]] = [("", "")] * len(todo)
    if workers < 2 or len(todo) < 2 or sum(max(0, state_of(path)[0]) for path in todo) < ALONE:
        for number, path in enumerate(todo):
            results[number] = store(path, form, folder)
            _tell(progress, number + 1, len(todo))
        return results
    # Started afresh: a copy of a process with threads may wait for a lock that no thread of its own will open.
    with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn")) as pool:
        waiting = {pool.submit(store, path, form, folder): number for number, path in enumerate(todo)}
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                results[waiting[future]] = future.result()
                _tell(progress, done, len(todo))
        except BrokenProcessPool:
            raise MedtrainError(
                "a process that reads volumes has died, perhaps for want of memory; what is done is kept: start again"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def store(path: str, form: VolumeForm, folder: Path) -> tuple[str, str]:
    """The content of one file and '', its volume now in `folder`; or a reason that holds for this time only."""
    before = state_of(path)
    try:
        content = content_of(path)
    except OSError as error:
        return "", f"cannot be opened: {error.strerror}"
    file = folder / f"{content}.vol"
    if read_stored(file, READERS) is not None:
        return content, ""
    try:
        stored_CDHW, facts = prepared(read_volume(path), form)
    except VolumeError as error:
        reason = str(error)
    else:
        reason = ""
    if state_of(path) != before:
        return "", CHANGED
    if reason:
        write_reason(file, reason, READERS)
    else:
        write_stored(file, stored_CDHW, facts)
    return content, ""


def state_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size and time (ns) of a file, or of all files in a folder together; (-1, 0) where nothing is there."""
    try:
        if not os.path.isdir(path):
            status = os.stat(path)
            return status.st_size, status.st_mtime_ns
        with os.scandir(path) as entries:
            stats = [entry.stat() for entry in entries if entry.is_file()]
        return sum(each.st_size for each in stats), max((each.st_mtime_ns for each in stats), default=0) + len(stats)
    except OSError:
        return -1, 0


def content_of(path: str | os.PathLike[str]) -> str:
    """A hash of what a file holds, or of all DICOM files in a folder in whatever order, as 32 hexadecimal digits."""
    if not os.path.isdir(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    parts = sorted(content_of(file) for file in dicom_files(path))
    return hashlib.blake2b("".join(parts).encode(), digest_size=16).hexdigest()


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """A NIfTI file, or a folder with one DICOM series (VolumeError)."""
    return read_series(path) if os.path.isdir(path) else read_nifti(path)


def prepared(volume: Volume, form: VolumeForm) -> tuple[NDArray[Any], dict[str, Any]]:
    """Voxels (C, D, H, W) as they are stored, and the facts beside them (see `Stored`).

    Whole numbers within 65,536 of one another are stored to the unit; others in 65,535 steps of their range, so with an
    error of at most half a step.

    Raises:
        VolumeError: voxels that are no numbers, or a mask of something else than labels.
    """
    _check_numbers(volume.x_CDHW)
    whole = bool(np.issubdtype(volume.x_CDHW.dtype, np.integer))
    if form.mask:
        volume = volume.with_voxels(_labels(volume.x_CDHW), volume.affine)
    placed = to_spacing(volume, form.spacing, nearest=form.mask)
    facts: dict[str, Any] = {
        "affine": placed.affine.tolist(),
        "spacing": list(placed.spacing),
        "source": placed.source.to_dict(),
        "identity": of_voxels(volume.x_CDHW, volume.affine),
    }
    x = placed.x_CDHW
    if form.mask:
        box = _ends([(x != 0).any((0, *(other for other in (1, 2, 3) if other != axis))) for axis in (1, 2, 3)])
        marked = int(np.count_nonzero(x))
        return x, facts | {"scale": [1.0], "offset": [0.0], "low": [0], "high": [1], "box": box, "marked": marked}
    scale, offset = zip(*(_steps(channel, whole) for channel in x), strict=True)
    box, low, high = foreground(x)
    stored = np.stack([_stored(*each) for each in zip(x, scale, offset, strict=True)])
    return stored, facts | {"scale": scale, "offset": offset, "low": low, "high": high, "box": box, "marked": 0}


def foreground(x_CDHW: NDArray[Any]) -> tuple[Box, list[float], list[float]]:
    """The box of what is no background, and the 0.5th and 99.5th percentile of each channel within it.

    Background is what lies below Otsu's threshold (IEEE Trans. SMC 1979) of the first channel: the air around a body.
    """
    step = max(1, int(np.ceil((x_CDHW[0].size / SAMPLE) ** (1 / 3))))
    few = np.asarray(x_CDHW[:, ::step, ::step, ::step], np.float32)
    above = few[0] > otsu(few[0])
    planes = [above.mean(tuple(other for other in range(3) if other != axis)) >= FOREGROUND for axis in range(3)]
    ends = [
        (start * step, min(stop * step, size)) if stop else (0, size)
        for (start, stop), size in zip(_ends(planes), x_CDHW.shape[1:], strict=True)
    ]
    within = x_CDHW[(slice(None), *(slice(start, stop, step) for start, stop in ends))]
    low, high = np.percentile(within.reshape(len(within), -1), PERCENTILES, axis=1)
    return (ends[0], ends[1], ends[2]), low.tolist(), high.tolist()


def otsu(x: NDArray[np.float32]) -> float:
    """The threshold that parts values into the two classes of the greatest variance between them; -inf if all equal."""
    if x.min() == x.max():
        return -np.inf  # one class
    count, edges = np.histogram(x, 256)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(count)
    above = below[-1] - below
    weighted = np.cumsum(count * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (weighted / below - (weighted[-1] - weighted) / above) ** 2
    return float(edges[1:][int(np.nanargmax(between[:-1]))])


def _check_numbers(x_CDHW: NDArray[Any]) -> None:
    if np.issubdtype(x_CDHW.dtype, np.integer):
        return
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for channel in x_CDHW for plane in channel)
    if bad:
        raise VolumeError(f"{bad:,} of {x_CDHW.size:,} voxels are NaN or infinite")


def _labels(x_CDHW: NDArray[Any]) -> NDArray[np.uint8]:
    if len(x_CDHW) > 1:
        raise VolumeError(f"a mask of {len(x_CDHW)} channels, not one")
    labels = np.empty(x_CDHW.shape, np.uint8)
    for plane, out in zip(x_CDHW[0], labels[0], strict=True):
        if plane.min() < 0 or plane.max() > 255 or (plane != np.rint(plane)).any():
            raise VolumeError("a mask whose values are no labels from 0 to 255")
        out[:] = plane
    return labels


def _ends(marked: list[NDArray[np.bool_]]) -> Box:
    ends = [(int(at[0]), int(at[-1]) + 1) if len(at := np.flatnonzero(axis)) else (0, 0) for axis in marked]
    return ends[0], ends[1], ends[2]


def _steps(x: NDArray[Any], whole: bool) -> tuple[float, float]:
    """(scale, offset) that make an int16 of each value."""
    low, high = float(x.min()), float(x.max())
    if whole and high - low <= 65535:
        return 1.0, 0.0 if low >= -32768 and high <= 32767 else float(np.floor(low)) + 32768
    scale = (high - low) / 65535 or 1.0
    return scale, low + 32768 * scale


def _stored(x_DHW: NDArray[Any], scale: float, offset: float) -> NDArray[np.int16]:
    out = np.empty(x_DHW.shape, np.int16)
    for plane, stored in zip(x_DHW, out, strict=True):
        np.clip(np.rint((plane - offset) / scale), -32768, 32767, out=stored, casting="unsafe")
    return out


def channels_of(paths: Sequence[str]) -> int:
    """Channels of the first of these files whose header can be read; 1 if there is none."""
    for path in paths:
        try:
            return 1 if os.path.isdir(path) else read_channels(path)
        except VolumeError:
            continue
    return 1
