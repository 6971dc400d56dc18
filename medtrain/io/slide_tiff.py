"""Levels of tiled TIFF and SVS slides, decoded tile by tile: with JPEG tiles several times as fast as OpenSlide.

Only what OpenSlide sees too counts as a level, and only where the pixels prove equal is it used (`agrees`): some
makers store tiles that overlap, levels that are padded, or colours in a space of their own, which OpenSlide knows and
a TIFF reader does not.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.io.pasting import pasted
from medtrain.io.slide_openslide import OpenSlideLevels

CACHE = 32 * 2**20  # bytes of decoded tiles that a handle keeps: neighbours share them
PROBES = 4  # regions a level that are compared
PROBE = 64  # pixels a side
ROUNDING = 2  # grey levels by which OpenSlide's interpolation, in fixed point, may be off

Pixels = NDArray[np.uint8]


class TiffLevels:
    """The tiled pages of a TIFF file that are levels of the slide, by level number.

    The file is opened at the first read of a process and never pickled.
    """

    def __init__(self, slide: OpenSlideLevels) -> None:
        self.path: Path = slide.path
        self.sizes = slide.sizes
        self._file: Any = None
        self._pages: dict[int, Any] = {}
        self._cache: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._held = 0

    @property
    def pages(self) -> dict[int, Any]:
        """Find {level: page}; empty where the file is no TIFF, or tifffile or imagecodecs is missing."""
        if self._file is None:
            self._file = _open(self.path) or False
            self._pages = _levels(self._file, self.sizes) if self._file else {}
        return self._pages

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file, self._pages = None, {}
        self._cache.clear()
        self._held = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_pages": {}, "_cache": OrderedDict(), "_held": 0}

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read as `OpenSlideLevels.read` does, for a level in `pages`.

        Raises:
            LookupError: a tile is not stored (the maker left it out), which OpenSlide knows how to fill.
            ValueError: a tile cannot be decoded.
        """
        page = self.pages[level]
        tall, wide = page.tilelength, page.tilewidth
        if not x % wide and not y % tall and (width, height) == (wide, tall) and self._inside(level, x, y, wide, tall):
            return self._tile(level, y // tall, x // wide)
        return pasted((x, y, width, height), self.sizes[level], (tall, wide), partial(self._tile, level))

    def _inside(self, level: int, x: int, y: int, width: int, height: int) -> bool:
        return x >= 0 and y >= 0 and x + width <= self.sizes[level][0] and y + height <= self.sizes[level][1]

    def _tile(self, level: int, row: int, column: int) -> Pixels:
        """Decode one stored tile, or take it from the last that were needed."""
        page = self.pages[level]
        number = row * -(-page.imagewidth // page.tilewidth) + column
        key = (level, number)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        length = page.databytecounts[number]
        if not length:
            raise LookupError(number)
        stored = os.pread(self._file.filehandle.fileno(), length, page.dataoffsets[number])
        if len(stored) < length:
            raise ValueError(f"level {level} cannot be decoded, part {number}: the file ends before it")
        try:
            tile: Pixels = page.decode(stored, number, jpegtables=page.jpegtables)[0][0]
        except Exception as error:  # imagecodecs has an exception of its own for each codec
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"level {level} cannot be decoded at x={column * page.tilewidth}, y={row * page.tilelength}: {reason}"
            ) from None
        self._cache[key] = tile
        self._held += tile.nbytes
        while self._held > CACHE and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return tile


def _open(path: Path) -> Any:
    try:
        import imagecodecs  # noqa: F401  # tifffile decodes with it
        import tifffile

        return tifffile.TiffFile(path)
    except Exception:  # no TIFF, or one that tifffile can't make sense of: OpenSlide may
        return None


def _levels(file: Any, sizes: list[tuple[int, int]]) -> dict[int, Any]:
    pages: dict[int, Any] = {}
    for page in file.pages:
        size = (page.imagewidth, page.imagelength)
        plain = page.is_tiled and page.samplesperpixel == 3 and page.bitspersample == 8
        if plain and page.planarconfig == 1 and sizes.count(size) == 1:
            pages.setdefault(sizes.index(size), page)
    return pages


def agrees(direct: TiffLevels, slide: OpenSlideLevels, level: int) -> bool:
    """Tell whether a level's pixels are those of OpenSlide, at a few places spread over it.

    At a level of a fractional downsample OpenSlide, which counts in level 0, hits no pixel in the middle and
    interpolates: there its own interpolation of the direct pixels must give the same, to `ROUNDING`.
    """
    if level not in direct.pages:
        return False
    width, height = slide.sizes[level]
    side = min(PROBE, width - 1, height - 1)
    page = direct.pages[level]
    stored = np.flatnonzero(np.asarray(page.databytecounts))
    if side < 1 or not len(stored):
        return False
    # the tiles with the most bytes hold the most structure
    busiest = sorted(stored, key=lambda number: -page.databytecounts[number])[: 8 * PROBES : 8]
    across = -(-width // page.tilewidth)
    try:
        for number in busiest[:PROBES]:
            row, column = divmod(int(number), across)
            x = min(column * page.tilewidth + page.tilewidth // 2, width - side - 1)
            y = min(row * page.tilelength + page.tilelength // 2, height - side - 1)
            if not _same(direct, slide, level, x, y, side):
                return False
    except (LookupError, ValueError):
        return False
    return True


def _same(direct: TiffLevels, slide: OpenSlideLevels, level: int, x: int, y: int, side: int) -> bool:
    theirs = slide.read(level, x, y, side, side).astype(np.float32)
    downsample = slide.downsamples[level]
    exact_x, exact_y = round(x * downsample) / downsample, round(y * downsample) / downsample
    left, top = int(np.floor(exact_x + 1e-9)), int(np.floor(exact_y + 1e-9))
    right, below = exact_x - left, exact_y - top
    ours = direct.read(level, left, top, side + 1, side + 1).astype(np.float32)
    if max(right, below) < 1e-6:
        return np.array_equal(ours[:side, :side], theirs)
    ours = (1 - right) * ours[:, :-1] + right * ours[:, 1:]
    ours = (1 - below) * ours[:-1] + below * ours[1:]
    return float(np.abs(ours - theirs).max()) <= ROUNDING
