"""Whole slides: tiles at a wanted resolution, whatever levels the file has.

Two readers stand behind it: OpenSlide for what it knows (`slide_openslide`), and one that decodes the tiles of a TIFF
file directly (`slide_tiff`), taken level by level where its pixels prove to be OpenSlide's. What OpenSlide doesn't read
whole, `slide_pages` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor, log2
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.io import closed
from medtrain.io.slide_openslide import OpenSlideLevels
from medtrain.io.slide_pages import open_levels
from medtrain.io.slide_tiff import TiffLevels, agrees
from medtrain.io.slide_unread import unread_share

Pixels = NDArray[np.uint8]

SNAP = 0.02  # scanners of one magnification differ by 2 % in um/px: that is not worth a resampling
PLAUSIBLE = (0.05, 20.0)  # um/px; 72 dpi, which many writers put in, would be 353
SAME_SCALE = 1.3  # ratio up to which um/px and an objective go together: 40x scanners have 0.22 to 0.26
AT_40X = 10.0  # um/px times magnification: 40x has 0.25 um/px
PIECE = 2048  # pixels a side that an overview reads at once
SMALLEST = 256  # pixels a side of a piece that is not looked into further
LOST = (255, 0, 255)  # magenta, in an overview, where the slide cannot be decoded


@dataclass(frozen=True)
class View:
    """A plan for cutting tiles of one size and resolution from one slide.

    Args:
        level: the level that is read.
        factor: pixels of that level a pixel of a tile; at least 1.
        px: pixels a side of a tile.
        mpp: um/px of the tiles.
        edge: a tile's side in pixels of level 0.
    """

    level: int
    factor: float
    px: int
    mpp: float
    edge: float


class Slide:
    """One slide file; pickles without its handles, which each process opens at its first read.

    Args:
        path: what OpenSlide opens.
        mpp: um/px of level 0, whatever the file says.
        default_mpp: um/px of level 0 where the file does not say it.
        direct: may tiles be decoded without OpenSlide?

    Attributes:
        sizes: (width, height) of each level.
        downsamples: of each level, against level 0.
        mpp: um/px of level 0.
        mpp_from: where that was found: ``given``, ``file``, ``resolution``, ``objective`` or ``default``.
        contradicts: what the file says against it; '' for nothing.

    Raises:
        ValueError: with a short reason: it cannot be opened, or its um/px are unknown.
    """

    def __init__(
        self, path: Path | str, mpp: float | None = None, default_mpp: float | None = None, direct: bool = True
    ) -> None:
        self.path = Path(path)
        closed.refuse(str(path))
        self._openslide = open_levels(self.path)
        self._tiff = TiffLevels(self._openslide)
        direct = direct and isinstance(self._openslide, OpenSlideLevels)
        self._direct: dict[int, bool] = {} if direct else dict.fromkeys(range(len(self._openslide.sizes)), False)
        self.sizes, self.downsamples = self._openslide.sizes, self._openslide.downsamples
        self.mpp, self.mpp_from = _mpp(self._openslide.properties, mpp, default_mpp)
        self.contradicts = _contradiction(self._openslide.properties, self.mpp, self.mpp_from)

    @property
    def magnification(self) -> float:
        """Name the objective: 10 over um/px, so 40 at 0.25."""
        return AT_40X / self.mpp

    def reader(self, level: int) -> str:
        """Name the reader of a level: ``tiff`` (tiles decoded directly), ``openslide``, ``tifffile`` or ``pillow``."""
        if level not in self._direct:
            self._direct[level] = agrees(self._tiff, self._openslide, level)
        return "tiff" if self._direct[level] else self._openslide.name

    @property
    def unread(self) -> float:
        """Compute the share of the file's pixels that are other pictures than this one, see `unread_share`."""
        vendor = self._openslide.properties.get("openslide.vendor", "")
        plain = self._openslide.name == "tifffile" or vendor == "generic-tiff"
        return unread_share(self.path, self.sizes[0]) if plain else 0.0

    def close(self) -> None:
        """Close the files; the next read opens them again."""
        self._openslide.close()
        self._tiff.close()

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Read a region of a level, (height, width, 3) RGB; transparency and what lies outside the slide are white.

        Args:
            x, y, width, height: in pixels of that level.

        Raises:
            ValueError: it cannot be decoded; other regions still can.
        """
        if self.reader(level) == "tiff":
            try:
                return self._tiff.read(level, x, y, width, height)
            except LookupError:
                pass
        return self._openslide.read(level, x, y, width, height)

    def view(self, mpp: float, px: int) -> View:
        """Choose the coarsest level that is fine enough, and the rescaling that is left.

        Args:
            mpp: wanted um/px; within `SNAP` of a whole multiple of the level's, that multiple is taken.
            px: pixels a side of a tile.

        Raises:
            ValueError: the slide was not scanned finely enough.
        """
        ratio = mpp / self.mpp
        fine = [level for level, downsample in enumerate(self.downsamples) if downsample <= ratio * (1 + SNAP)]
        if not fine:
            raise ValueError(
                f"it has {self.mpp:.4g} um/px ({self.magnification:.3g}x), which is coarser than the wanted {mpp:.4g}"
            )
        level = max(fine, key=lambda number: self.downsamples[number])
        factor = ratio / self.downsamples[level]
        if abs(factor / round(factor) - 1) <= SNAP:
            factor = float(round(factor))
        edge = px * factor * self.downsamples[level]
        return View(level, factor, px, edge / px * self.mpp, edge)

    def tile(self, view: View, x: int, y: int) -> Pixels:
        """Read one tile, (px, px, 3) RGB, its upper left corner at (x, y) of level 0. Raises as `read`."""
        exact_x, exact_y = x / self.downsamples[view.level], y / self.downsamples[view.level]
        if view.factor.is_integer():
            side = view.px * int(view.factor)
            pixels = self.read(view.level, round(exact_x), round(exact_y), side, side)
            return pixels if view.factor == 1 else np.asarray(Image.fromarray(pixels).reduce(int(view.factor)))
        left, top, side_f = floor(exact_x), floor(exact_y), view.px * view.factor
        box = (exact_x - left, exact_y - top, exact_x - left + side_f, exact_y - top + side_f)
        pixels = self.read(view.level, left, top, ceil(box[2]), ceil(box[3]))
        # bilinear, antialiased: PIL widens the kernel by the factor
        return np.asarray(Image.fromarray(pixels).resize((view.px, view.px), Image.Resampling.BILINEAR, box))

    def overview(self, mpp: float) -> tuple[Pixels, float]:
        """Read the whole slide at about `mpp` um/px (finer slides only; coarser ones as they are), held in pieces.

        Returns:
            (H, W, 3) RGB, `LOST` where it cannot be decoded, and how many pixels of level 0 one of its pixels covers a
            side.

        Raises:
            ValueError: nothing of it can be decoded.
        """
        wanted = max(mpp, self.mpp)
        side = 1 << max(0, floor(log2(PIECE / self.view(wanted, 1).factor)))
        view = self.view(wanted, side)
        scale = view.edge / side
        width, height = (ceil(n / scale) for n in self.sizes[0])
        out = np.full((height, width, 3), 255, np.uint8)
        for top in range(0, height, side):
            for left in range(0, width, side):
                piece = self._piece(view, left * scale, top * scale)
                out[top : top + side, left : left + side] = piece[: height - top, : width - left]
        if (out == LOST).all():
            self.tile(replace(view, px=1, edge=scale), 0, 0)  # raises, with the reason
        return out, scale

    def _piece(self, view: View, x: float, y: float) -> Pixels:
        """Read a piece of an overview; of one that cannot be decoded, all but its bad parts."""
        try:
            return self.tile(view, round(x), round(y))
        except ValueError:
            out = np.full((view.px, view.px, 3), LOST, np.uint8)
            if view.px * view.factor > SMALLEST and view.px > 1:
                half = replace(view, px=view.px // 2, edge=view.edge / 2)
                for row in (0, 1):
                    for column in (0, 1):
                        part = self._piece(half, x + column * half.edge, y + row * half.edge)
                        out[row * half.px :, column * half.px :][: half.px, : half.px] = part
            return out


def _mpp(properties: dict[str, str], given: float | None, default: float | None) -> tuple[float, str]:
    if given:
        return given, "given"
    values = []
    for name, source in _sources(properties):
        values.append(f"{name:.4g}")
        if PLAUSIBLE[0] <= name <= PLAUSIBLE[1]:
            return name, source
    if default:
        return default, "default"
    odd = (
        f"says {' and '.join(dict.fromkeys(values))} um/px, which no scanner has"
        if values
        else "does not say its um/px"
    )
    raise ValueError(f"the file {odd}; set data.default_mpp (0.25 for a 40x scan, 0.5 for 20x)")


def _contradiction(properties: dict[str, str], mpp: float, source: str) -> str:
    """Say what a file says of its scale against the um/px that are taken; '' for nothing."""
    try:
        others = [(value, name) for value, name in _sources(properties) if name != source]
    except ValueError as error:
        return str(error)
    for value, name in others:
        plausible = PLAUSIBLE[0] <= value <= PLAUSIBLE[1]
        if name != "default" and plausible and not 1 / SAME_SCALE < value / mpp < SAME_SCALE:
            says = f"the objective, {AT_40X / value:.3g}x," if name == "objective" else "the file"
            return f"{says} says {value:.3g} um/px, and {mpp:.3g} are taken"
    return ""


def _sources(properties: dict[str, str]) -> Iterator[tuple[float, str]]:
    """Yield (um/px, where from), the most reliable first."""
    both = [_number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    if both[0] and both[1]:
        if abs(both[0] / both[1] - 1) > 0.05:
            raise ValueError(f"its pixels are not square: {both[0]:.4g} x {both[1]:.4g} um")
        yield (both[0] + both[1]) / 2, "file"
    unit = {"centimeter": 1e4, "inch": 25400.0}.get(properties.get("tiff.ResolutionUnit", ""))
    a_unit = _number(properties.get("tiff.XResolution"))
    if unit and a_unit:
        yield unit / a_unit, "resolution"
    if power := _number(properties.get("openslide.objective-power")):
        yield AT_40X / power, "objective"


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if value > 0 and value != float("inf") else None


def slide_fingerprint(path: Path | str) -> str:
    """Hash a slide's content without reading gigabytes: SHA-256 of the size and eight spread pieces."""
    size, piece = Path(path).stat().st_size, 1 << 17
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(8):
            file.seek(max(0, (size - piece) * number // 7))
            digest.update(file.read(piece))
    return digest.hexdigest()
