"""Many pictures on one page: what a person sees in a minute and no number tells."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE = 144  # pixels
GAP = 8
LINE = 15
PAPER, INK, SOFT, EMPTY = "#ffffff", "#1c2530", "#5b6875", "#dfe4e9"
COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "note": "#5b6875"}


@dataclass(frozen=True)
class Tile:
    """A picture (C, H, W), uint8 or uint16, None where there is none, with lines below it; the first in `colour`."""

    picture: NDArray[Any] | None
    lines: Sequence[str] = ()
    colour: str = INK


def contact_sheet(title: str, bands: Sequence[tuple[str, Sequence[Tile]]], columns: int = 6) -> Image.Image:
    """Draw bands of tiles, each under its heading ('' for none).

    Args:
        columns: tiles side by side; a band of more goes on below.
    """
    width = GAP + columns * (TILE + GAP)
    parts = [_text(title, width, 17, INK)]
    for heading, tiles in bands:
        if heading:
            parts.append(_text(heading, width, 13, INK))
        parts += [_row(tiles[n : n + columns], width) for n in range(0, len(tiles), columns)]
    sheet = Image.new("RGB", (width, 2 * GAP + sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def _text(text: str, width: int, size: int, colour: str) -> Image.Image:
    out = Image.new("RGB", (width, size + GAP + 8), PAPER)
    ImageDraw.Draw(out).text((GAP, GAP), _cut(text, width - 2 * GAP, size), fill=colour, font=_font(size))
    return out


def _row(tiles: Sequence[Tile], width: int) -> Image.Image:
    captions = [_wrapped(tile.lines) for tile in tiles]
    most = max(len(lines) for lines in captions)
    out = Image.new("RGB", (width, TILE + GAP + most * LINE), PAPER)
    draw = ImageDraw.Draw(out)
    for n, (tile, lines) in enumerate(zip(tiles, captions, strict=True)):
        left = GAP + n * (TILE + GAP)
        draw.rectangle((left, 0, left + TILE - 1, TILE - 1), fill=EMPTY)
        if tile.picture is None:
            draw.text((left + GAP, TILE // 2 - 8), "no picture", fill=SOFT, font=_font(12))
        else:
            small = _thumbnail(tile.picture)
            out.paste(small, (left + (TILE - small.width) // 2, (TILE - small.height) // 2))
        for index, line in enumerate(lines):
            draw.text((left, TILE + 2 + index * LINE), line, fill=SOFT if index else tile.colour, font=_font(11))
    return out


def _thumbnail(picture_CHW: NDArray[Any]) -> Image.Image:
    x = picture_CHW if picture_CHW.dtype == np.uint8 else (picture_CHW // 257).astype(np.uint8)
    image = Image.fromarray(x[0] if len(x) == 1 else np.moveaxis(x, 0, -1)).convert("RGB")
    scale = TILE / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)


def _wrapped(lines: Sequence[str], most: int = 5) -> list[str]:
    """Break lines so that they fit below a tile; file names break where they must."""
    wrapped = [part for line in lines for part in textwrap.wrap(line, 23)]
    return wrapped if len(wrapped) <= most else [*wrapped[: most - 1], wrapped[most - 1][:21] + " ..."]


def _cut(text: str, width: int, size: int) -> str:
    while len(text) > 4 and _font(size).getlength(text) > width:
        text = text[: -len(text) // 20 - 4].rstrip() + " ..."
    return text


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings a font along that has letters of many languages
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
