"""What slides are, found out once a file: OpenSlide's own hash, or pixels of the lowest level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medtrain.io.cache_root import writing_to
from medtrain.io.content import SLIDE, of_pixels, of_texts
from medtrain.io.slide_pages import Levels, open_levels
from medtrain.io.stats import absolute, stat_files
from medtrain.io.store.remembered import Remembered

WIDTH = 40  # characters of a content, at most
QUICKHASH = "openslide.quickhash-1"  # which OpenSlide leaves out where the lowest level takes more than 5 MB
PIECE = 1024  # pixels a side that are read at once
MOST = 64  # pieces of a level: a slide of one level may have gigabytes of pixels


def slide_contents(slides: Sequence[str], root: Path) -> list[str]:
    """Identify slides by `medtrain.io.content`; '' of what can't be opened.

    Args:
        root: of all caches, which remember it for as long as a file has its size and time.
    """
    paths, memory = absolute(slides), Remembered(root / "slides" / "contents.npy", WIDTH)
    states = stat_files(paths)
    recalled = memory.recall(paths, states)
    new = [n for n, content in enumerate(recalled) if content is None and states[n, 0] >= 0]
    contents = [content or "" for content in recalled]
    for n in new:
        contents[n] = slide_content(Path(paths[n]))
    if new:
        with writing_to(root / "slides"):
            (root / "slides").mkdir(parents=True, exist_ok=True)
            memory.add([paths[n] for n in new], states[new], [contents[n] for n in new])
    return contents


def slide_content(path: Path) -> str:
    """Identify one slide; '' of what can't be opened."""
    try:
        slide = open_levels(path)
    except ValueError:
        return ""
    try:
        known = slide.properties.get(QUICKHASH)
        return of_texts(SLIDE, [known] if known else _lowest(slide))
    except ValueError:
        return ""
    finally:
        slide.close()


def _lowest(slide: Levels) -> Iterator[str]:
    """The size of the lowest level, and its pixels; of a large one those of evenly spread pieces."""
    level = len(slide.sizes) - 1
    width, height = slide.sizes[level]
    yield f"{slide.sizes[0]} {width} {height}"
    corners = [(x, y) for y in range(0, height, PIECE) for x in range(0, width, PIECE)]
    for n in np.unique(np.linspace(0, len(corners) - 1, min(MOST, len(corners))).round().astype(int)).tolist():
        x, y = corners[n]
        yield of_pixels(slide.read(level, x, y, min(PIECE, width - x), min(PIECE, height - y)))
