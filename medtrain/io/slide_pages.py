"""Slides that OpenSlide does not read whole: OME-TIFF with its smaller levels, TIFF without tiles, flat pictures.

What is read here has 8 bits a colour. Everything else is refused, with the way to convert it.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.extras import extra
from medtrain.io.pasting import pasted
from medtrain.io.slide_names import PICTURES
from medtrain.io.slide_openslide import OpenSlideLevels

CONVERT = "convert it: vips tiffsave IN OUT.tiff --tile --pyramid --compression jpeg"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGEST = 4 * 10**8  # pixels of a flat picture, which lies in memory whole
UM = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25400.0}
RGB, GREY, YCBCR, JPEG = 2, 1, 6, 7
CACHE = 64 * 2**20  # bytes of decoded tiles or strips that a handle keeps

Levels = Any  # what has sizes, downsamples, properties, read and close, as `OpenSlideLevels`


def open_levels(path: Path) -> Levels:
    """Open a slide with the reader that sees all of it.

    Raises:
        ValueError: with a short reason, and how to convert it where that helps.
    """
    if path.is_file() and _is_tiff(path):
        ome = _ome(path)
        if ome is not None:
            return ome
    try:
        return OpenSlideLevels(path)
    except ValueError as error:
        if not path.is_file() or not path.stat().st_size:
            raise
        reason = str(error)
    if _is_tiff(path):
        return PagedLevels(path)
    if path.suffix.lower() in PICTURES:
        return PictureLevels(path)
    raise ValueError(reason)


class PagedLevels:
    """The levels of a TIFF file as tifffile finds them, in tiles or strips; see `OpenSlideLevels` for what it has.

    The file is opened at the first read of a process and never pickled.

    Raises:
        ValueError: its pixels are of a kind that is not read.
    """

    name = "tifffile"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._pages: list[Any] = []
        self._cache: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        pages = self.pages
        self.sizes = [(int(page.imagewidth), int(page.imagelength)) for page in pages]
        (full_width, full_height), tags = self.sizes[0], pages[0].tags
        self.downsamples = [(full_width / width + full_height / height) / 2 for width, height in self.sizes]
        file: Any = self._file
        self.is_ome = bool(file.is_ome)
        self.properties = _physical_size(file.ome_metadata or "") if self.is_ome else _resolution(tags)

    @property
    def pages(self) -> list[Any]:
        """Find the page of each level, the largest first."""
        if self._file is None:
            extra("imagecodecs", f"{self.path.name}: reading a TIFF slide")
            try:
                file = extra("tifffile", f"{self.path.name}: reading a TIFF slide").TiffFile(self.path)
                levels = max(file.series, key=lambda series: _area(series.keyframe)).levels
            except (ValueError, LookupError, TypeError, OSError) as error:
                raise ValueError(f"no whole TIFF file: {str(error).partition(chr(10))[0][:100]}") from None
            pages = [level.keyframe for level in levels]
            if reason := _why_not(pages[0], levels[0]):
                file.close()
                raise ValueError(f"{reason}; {CONVERT}")
            self._file = file
            self._pages = sorted((page for page in pages if not _why_not(page)), key=_area, reverse=True)
        return self._pages

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._pages = None, []
        self._cache.clear()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_pages": [], "_cache": OrderedDict()}

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region of a level, (height, width, 3); what lies outside, and what the maker left out, is white.

        Raises:
            ValueError: it cannot be decoded.
        """
        page = self.pages[level]
        tall, wide = _segment(page)
        across = -(-page.imagewidth // wide)

        def stored(row: int, column: int) -> NDArray[np.uint8] | None:
            return self._part(level, row * across + column)

        return pasted((x, y, width, height), self.sizes[level], (tall, wide), stored)

    def _part(self, level: int, number: int) -> NDArray[np.uint8] | None:
        """Decode a tile or a strip, or take it from the last that were needed; None of one that was left out."""
        page, key = self.pages[level], (level, number)
        if key not in self._cache:
            length = page.databytecounts[number]
            if not length:
                return None
            stored = os.pread(self._file.filehandle.fileno(), length, page.dataoffsets[number])
            if len(stored) < length:
                raise ValueError(f"level {level} cannot be decoded, part {number}: the file ends before it")
            try:
                decoded = page.decode(stored, number, jpegtables=page.jpegtables)[0]
            except Exception as error:  # imagecodecs has an exception of its own for each codec
                reason = str(error).partition(chr(10))[0]
                raise ValueError(f"level {level} cannot be decoded, part {number}: {reason}") from None
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[page.samplesperpixel]
            pixels = np.ascontiguousarray(decoded[0] if mode != "L" else decoded[0, ..., 0])
            self._cache[key] = on_white(Image.fromarray(pixels, mode))
            while sum(part.nbytes for part in self._cache.values()) > CACHE and len(self._cache) > 1:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]


class PictureLevels:
    """A flat picture, PNG, JPEG, JPEG 2000 or WebP, as a slide of one level; it lies in memory whole.

    Raises:
        ValueError: it is too large for that, or no such picture.
    """

    name = "pillow"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pixels: NDArray[np.uint8] | None = None
        try:
            with Image.open(path) as picture:
                self.sizes, mode = [(int(picture.width), int(picture.height))], picture.mode
                dpi = picture.info.get("dpi")
        except Image.DecompressionBombError:
            raise ValueError(f"too large for a picture that has to lie in memory whole; {CONVERT}") from None
        except OSError:
            raise ValueError("not a picture that can be read") from None
        if self.sizes[0][0] * self.sizes[0][1] > LARGEST:
            raise ValueError(f"{self.sizes[0][0]} x {self.sizes[0][1]} pixels, too large without tiles; {CONVERT}")
        if mode not in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"):
            raise ValueError(f"its pixels are {mode}, and 8 bits a colour are wanted; {CONVERT}")
        self.downsamples = [1.0]
        self.properties = {"tiff.ResolutionUnit": "inch", "tiff.XResolution": str(float(dpi[0]))} if dpi else {}

    def close(self) -> None:
        self._pixels = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pixels": None}

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region, (height, width, 3); what lies outside or is transparent is white.

        Raises:
            ValueError: it cannot be decoded.
        """
        if self._pixels is None:
            try:
                with Image.open(self.path) as picture:
                    self._pixels = on_white(picture)
            except (OSError, SyntaxError) as error:
                raise ValueError(f"cannot be decoded: {error}") from None
        out = np.full((height, width, 3), 255, np.uint8)
        right, bottom = min(x + width, self.sizes[0][0]), min(y + height, self.sizes[0][1])
        left, top = max(x, 0), max(y, 0)
        if right > left and bottom > top:
            out[top - y : bottom - y, left - x : right - x] = self._pixels[top:bottom, left:right]
        return out


def on_white(picture: Image.Image) -> NDArray[np.uint8]:
    """Give (H, W, 3) RGB, transparency on white."""
    if picture.mode in ("RGBA", "LA") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", above.size, (255, 255, 255, 255)), above)
    return np.asarray(picture.convert("RGB"))


def _is_tiff(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) in TIFF


def _ome(path: Path) -> PagedLevels | None:
    """Open an OME-TIFF; None of what is none, or that OpenSlide may read where we can't."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    if b"<OME" not in head and b"openmicroscopy" not in head and not re.search(r"\.ome\.tiff?$", path.name.lower()):
        return None
    try:
        levels = PagedLevels(path)
    except ValueError:
        return None
    return levels if levels.is_ome else None


def _area(page: Any) -> int:
    return int(page.imagewidth) * int(page.imagelength)


def _segment(page: Any) -> tuple[int, int]:
    """Give height and width of a page's tiles, or of its strips."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _resolution(tags: Any) -> dict[str, str]:
    """Read the resolution that a TIFF page states, under OpenSlide's names."""
    unit = {2: "inch", 3: "centimeter"}.get(int(tags.valueof("ResolutionUnit") or 0))
    across = tags.valueof("XResolution")
    if unit is None or not across or not across[1]:
        return {}
    return {"tiff.ResolutionUnit": unit, "tiff.XResolution": str(across[0] / across[1])}


def _why_not(page: Any, series: Any = None) -> str:
    """Say why a page's pixels are not read; '' if they are."""
    if int(page.compression) not in extra("tifffile", "reading a TIFF slide").TIFF.DECOMPRESSORS:
        return f"its compression is of a kind that is not read ({int(page.compression)})"
    if page.bitspersample != 8:
        return f"it has {page.bitspersample} bits a colour, and 8 are wanted"
    if page.samplesperpixel not in (1, 3, 4) or page.planarconfig != 1 or (series is not None and len(series) > 1):
        return "its colours are not stored as red, green and blue together"
    colours = int(page.photometric)
    if colours not in (RGB, GREY) and not (colours == YCBCR and int(page.compression) == JPEG):
        return f"its colours are of another kind ({getattr(page.photometric, 'name', page.photometric)})"
    return ""


def _physical_size(xml: str) -> dict[str, str]:
    """Read um/px of the first image of OME-XML, under OpenSlide's names."""
    try:
        pixels = next(part for part in ElementTree.fromstring(xml).iter() if part.tag.endswith("}Pixels"))
    except (ElementTree.ParseError, StopIteration):
        return {}
    size = {}
    for axis in "XY":
        value, unit = pixels.get(f"PhysicalSize{axis}"), UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        try:
            size[f"openslide.mpp-{axis.lower()}"] = str(float(value or "") * (unit or float("nan")))
        except ValueError:
            return {}
    return size
