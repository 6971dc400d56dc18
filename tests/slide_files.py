"""Small slides for tests, written as scanners write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from medtrain.core.streams import stream
from medtrain.data.phantom.histology import draw_layout, draw_textures, stain
from medtrain.data.phantom.slide import MASK, write_slide

_TEXTURES = {}


def stained(size: int = 768, seed: int = 0, pen: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pixels of a phantom, and where its tissue is at a sixteenth of their size."""
    draw = stream(seed, "tests")
    layout = draw_layout(draw, size // MASK, True, pen)
    if not _TEXTURES:
        _TEXTURES.update(draw_textures(stream(0, "textures of the tests")))
    return stain(draw, layout, _TEXTURES, size), layout.tissue


def slide_file(path: Path, size: int = 768, seed: int = 0, **how: object) -> Path:
    write_slide(path, stained(size, seed)[0], **how)  # type: ignore[arg-type]
    return path


def flat_slide(path: Path, pixels: NDArray[np.uint8], **tags: object) -> Path:
    """One level, without um/px unless `tags` (of tifffile) say them."""
    how = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None} | tags
    tifffile.imwrite(path, pixels, **how)  # type: ignore[arg-type]
    return path


def break_tile(path: Path, number: int) -> None:
    """Overwrite the middle of a stored tile of level 0."""
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[0].dataoffsets[number], file.pages[0].databytecounts[number]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff\xd8" + b"\x00" * (length - 2))
