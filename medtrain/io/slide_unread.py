"""Pictures of a TIFF file that no reader of slides shows: a second section, another focal plane, another scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medtrain.core.extras import extra

COPY = 0.02  # by which the forms of one picture at two sizes may differ
SMALL = 0.05  # of the main picture's pixels; labels and thumbnails have less


def unread_share(path: Path, main: tuple[int, int]) -> float:
    """Compute the share of a TIFF file's pixels, from 0 to 1, that are other pictures than the one that is read.

    Smaller pictures of its form count as copies of it, small ones as labels.

    Args:
        path: of a file whose pages mean what TIFF says: OME, or none of a scanner's.
        main: width and height of the picture that is read.
    """
    try:
        with extra("tifffile", "reading a TIFF slide").TiffFile(path) as file:
            parts = [series.pages for series in file.series] if file.is_ome else [file.pages]
            sizes = [_size(page) for pages in parts for page in pages if page is not None]
    except Exception:  # what tifffile makes no sense of has been opened otherwise
        return 0.0
    if main in sizes:
        sizes.remove(main)
    area = main[0] * main[1]
    others = sum(width * height for width, height in sizes if _is_other(width, height, main))
    return others / (others + area)


def _is_other(width: int, height: int, main: tuple[int, int]) -> bool:
    across, down = main
    copy = width < across and abs(width * down / (height * across) - 1) <= COPY
    return not copy and width * height > SMALL * across * down


def _size(page: Any) -> tuple[int, int]:
    page = getattr(page, "keyframe", page)
    return int(page.imagewidth), int(page.imagelength)
