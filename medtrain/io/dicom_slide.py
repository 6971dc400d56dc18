"""DICOM slides, which lie in several files: the levels of a series, its label and overview, parts of a level.

OpenSlide opens all of a slide by any of its files, as long as they lie in one folder. Here the files of a slide are put
together before anything counts them, and one of them stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from medtrain.io.dicom_files import is_dicom_file

ENDINGS = (".dcm", ".dicom")
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
TAGS = ("SOPClassUID", "ImageType", "SeriesInstanceUID", "ConcatenationFrameOffsetNumber", "TotalPixelMatrixColumns")
LAST = TAGS[-1]  # after it come optical paths, and tables of thousands of frames


def dicom_slides(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Put the files of each slide together.

    Args:
        files: of any kind.

    Returns:
        {the file that stands for a slide: its other files}, of slides that have others; that file is its widest level,
        the first part of it.
    """
    slides: dict[tuple[Path, str], list[tuple[int, int, str, Path]]] = {}
    for file in files:
        if file.suffix.lower() in ENDINGS and (head := _head(file)) is not None:
            kind = list(head.get("ImageType") or [])
            width = int(head.get("TotalPixelMatrixColumns") or 0) if "VOLUME" in kind else 0
            first = int(head.get("ConcatenationFrameOffsetNumber") or 0)
            series = str(head.get("SeriesInstanceUID") or file)
            slides.setdefault((file.parent, series), []).append((-width, first, file.name, file))
    ordered = [[place[-1] for place in sorted(places)] for places in slides.values()]
    return {first: others for first, *others in ordered if others}


def slides_in(folder: Path) -> dict[Path, Path]:
    """Say of each DICOM file of a slide that lies in a folder which file stands for its slide."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
    others = {other: first for first, parts in dicom_slides(files).items() for other in parts}
    return {file: others.get(file, file) for file in files if file in others or _head(file) is not None}


def slide_file(path: Path, known: Callable[[Path], Mapping[Path, Path]] = slides_in) -> Path:
    """Name the file that stands for a DICOM slide, given any of its files or the folder that holds it alone.

    Other paths come back as they are.

    Args:
        known: `slides_in`, which a caller with many paths may remember.

    Raises:
        ValueError: the folder holds no slide, or several.
    """
    if not path.is_dir():
        is_dicom = path.suffix.lower() in ENDINGS and path.is_file()
        return known(path.parent).get(path, path) if is_dicom else path
    slides = list(dict.fromkeys(known(path).values()))
    if len(slides) > 1:
        names = ", ".join(file.name for file in slides[:3])
        raise ValueError(f"a folder that holds {len(slides)} DICOM slides ({names}, ...): name a file of one")
    if not slides:
        raise ValueError("a folder that holds no DICOM slide")
    return slides[0]


def _head(file: Path) -> Any:
    """Read what says of which slide a file is; None of a file that is none of a slide's."""
    try:
        if not is_dicom_file(file):
            return None
        from pydicom.filereader import read_partial  # late: most slides are of other formats
        from pydicom.tag import BaseTag, Tag

        last = Tag(LAST)
        tags: list[BaseTag | int] = [Tag(name) for name in TAGS]
        with open(file, "rb") as opened:
            head = read_partial(opened, lambda tag, vr, length: tag > last, specific_tags=tags)
    except Exception:  # of a damaged file pydicom raises anything; whoever opens it says why
        return None
    return head if head.get("SOPClassUID") == SLIDE else None
