"""No picture is decoded twice: all of a data set at working size in one memory map, shared by all who train on it.

Made once, at set-up, by threads (PIL decodes and resizes outside the interpreter's lock); epochs then cost a copy.
Unreadable files are remembered with their reason, so that a second start knows them without decoding.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.io.build_once import build_once
from medtrain.io.files import read_json, write_json
from medtrain.io.image import ImageForm, Pixels, read_fitted

VERSION = 1  # of the decoding: raise it when the same file gives other pixels
CHUNK = 256  # pictures decoded ahead of the writer
Progress = Callable[[int, int], None]


@dataclass
class ImageCache:
    """Pictures by number, from one memory map that each process opens for itself on first use.

    Attributes:
        shape: (N, C, H, W).
        dtype: ``uint8``, or ``uint16`` (full range) where any file is deeper than 8 bit.
        problems: why a picture could not be read, by number; its pixels are black.
        decoded: how many files were decoded now, 0 where the cache was there.
    """

    file: Path
    shape: tuple[int, int, int, int]
    dtype: str
    problems: dict[int, str]
    decoded: int = 0
    _map: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: ArrayLike) -> Pixels:
        """A copy of the pictures `indices`: (B, C, H, W)."""
        if self._map is None:
            self._map = np.memmap(self.file, self.dtype, "r", shape=self.shape) if len(self) else self._empty()
        return np.asarray(self._map[np.asarray(indices, np.int64)])  # fancy indexing has copied

    def _empty(self) -> NDArray[Any]:
        return np.empty(self.shape, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


def cache_images(
    paths: Sequence[str | os.PathLike[str]],
    form: ImageForm,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ImageCache:
    """The cache of `paths` in `form`, decoded now unless it is under `folder`/images already.

    Args:
        paths: one picture each; missing and unreadable ones become `ImageCache.problems`.
        folder: the root of all caches (see `cache_root`).
        progress: called with (done, total) after every chunk.
        workers: decoding threads; by default one a core.

    Raises:
        MedtrainError: the cache folder cannot be written or is full.
    """
    place = folder / "images" / _key(paths, form)
    built = build_once(place, lambda temporary: _decode_all(paths, form, temporary, progress, workers))
    header = read_json(place / "header.json")
    problems = {int(number): reason for number, reason in header["problems"].items()}
    return ImageCache(
        (place / "pixels.bin").absolute(), tuple(header["shape"]), header["dtype"], problems, len(paths) if built else 0
    )


def _key(paths: Sequence[str | os.PathLike[str]], form: ImageForm) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, asdict(form)]).encode())
    for path in paths:
        try:
            status = os.stat(path)
            what = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            what = "missing"
        digest.update(f"{os.path.abspath(path)}\0{what}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


def _decode_all(
    paths: Sequence[str | os.PathLike[str]],
    form: ImageForm,
    place: Path,
    progress: Progress | None,
    workers: int | None,
) -> None:
    shape = (form.channels, *form.size)
    black = np.zeros(shape, np.uint8)
    problems: dict[int, str] = {}
    deep = False

    def read(number: int) -> Pixels | str:
        try:
            return read_fitted(paths[number], form)
        except ValueError as error:
            return str(error)

    # Written with write(): on a full disk a memory map would end in SIGBUS, not in an error.
    with open(place / "pixels.bin", "wb+") as file, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for start in range(0, len(paths), CHUNK):
            numbers = range(start, min(start + CHUNK, len(paths)))
            for number, pixels in zip(numbers, pool.map(read, numbers), strict=True):
                if isinstance(pixels, str):
                    problems[number], pixels = pixels, black
                if pixels.dtype == np.uint16 and not deep:
                    deep = True
                    _deepen(file, black.size)
                file.write((_as_deep(pixels) if deep else pixels).tobytes())
            if progress is not None:
                progress(numbers.stop, len(paths))
        file.flush()
        os.fsync(file.fileno())
    dtype = "uint16" if deep else "uint8"
    write_json(
        place / "header.json",
        {"shape": [len(paths), *shape], "dtype": dtype, "problems": problems, "form": asdict(form)},
    )


def _as_deep(pixels: Pixels) -> NDArray[np.uint16]:
    # 257 maps 255 to 65535, so that both depths scale to the same 0..1.
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.uint16) * np.uint16(257)


def _deepen(file: Any, record: int) -> None:
    """Rewrite the uint8 records so far as uint16, in place, from the last to the first."""
    done = file.tell() // record
    file.flush()
    for number in range(done - 1, -1, -1):
        file.seek(number * record)
        pixels = np.frombuffer(file.read(record), np.uint8)
        file.seek(number * record * 2)
        file.write(_as_deep(pixels).tobytes())
    file.seek(done * record * 2)
