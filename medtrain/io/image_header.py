"""Headers of picture files: size, channels, depth and format, without decoding them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.progress import Progress
from medtrain.io.dicom import read_shape
from medtrain.io.dicom_files import is_dicom_file
from medtrain.io.store.remembered import Remembered

BITS = {"1": 1, "I": 32, "F": 32}
GREY = ("1", "L", "LA", "La", "I", "F")
ORIENTATION = 0x0112  # EXIF; from 5 on height and width change places
CHUNK = 256
TEXT = 40  # characters of a header that is remembered
THREADS = 8


class Header(NamedTuple):
    """A picture as it is stored, upright.

    Attributes:
        size: (height, width) in pixels.
        channels: 1 (grey) or 3 (colour, be it that all are equal); transparency doesn't count.
        bits: a sample, as stored.
        format: PNG, JPEG, DICOM, ...
    """

    size: tuple[int, int]
    channels: int
    bits: int
    format: str


def read_header(path: str | os.PathLike[str]) -> Header | None:
    """Read the header of a file that `medtrain.io.image.read_image` reads; None where nothing can be made of it."""
    try:
        if is_dicom_file(path):
            rows, columns, samples, bits = read_shape(path)
            return Header((rows, columns), 1 if samples == 1 else 3, bits, "DICOM")
        with Image.open(Path(path)) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION, 1) >= 5:
                width, height = height, width
            deep = image.mode.startswith("I;16")
            bits = 16 if deep or (image.mode == "I" and image.format == "PNG") else BITS.get(image.mode, 8)
            return Header((height, width), 1 if deep or image.mode in GREY else 3, bits, str(image.format))
    except Exception:  # whatever is wrong with the file is told where its pixels are read
        return None


def read_headers(paths: Sequence[str], progress: Progress | None = None) -> list[Header | None]:
    """Read headers of many files by threads: a look at a file waits for the server where files are far away."""
    headers: list[Header | None] = []
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        for part in pool.map(lambda part: [read_header(path) for path in part], parts):
            headers += part
            if progress is not None:
                progress(len(headers), len(paths))
    return headers


def remembered_headers(paths: Sequence[str], states: NDArray[np.int64], folder: Path) -> list[Header | None]:
    """Read headers, but not of files that are as they were: a DICOM header takes a millisecond.

    Args:
        paths: absolute.
        states: of the files, from `stat_files`.
        folder: the root of all caches.
    """
    memory = Remembered(folder / "headers.npy", TEXT)
    headers = [None if text is None else _parsed(text) for text in memory.recall(paths, states)]
    new = [n for n, header in enumerate(headers) if header is None and states[n, 0] >= 0]
    read = dict(zip(new, read_headers([paths[n] for n in new]), strict=True))
    new_headers = {n: header for n, header in read.items() if header is not None}
    if new_headers:
        memory.add(
            [paths[n] for n in new_headers],
            states[list(new_headers)],
            [_text(header) for header in new_headers.values()],
        )
    return [read.get(n, header) for n, header in enumerate(headers)]


def _text(header: Header) -> str:
    return " ".join(map(str, (*header.size, header.channels, header.bits, header.format)))


def _parsed(text: str) -> Header:
    height, width, channels, bits, name = text.split(" ", 4)
    return Header((int(height), int(width)), int(channels), int(bits), name)
