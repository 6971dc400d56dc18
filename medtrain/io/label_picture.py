"""Pictures of labels over a slide, as GrandQC and others write them: a whole number a pixel, PNG or TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.extras import extra

LARGEST = 4 * 10**8  # pixels that are read at once
WHOLE = 10**8  # pixels up to which a pyramid's finest level is read
LOSSY = ("JPEG", "MPO")
ROOM = 0.01  # by which the sides' ratios may differ, beside two pixels: programs round, and cut off part tiles


def read_labels(path: Path, width: int) -> NDArray[np.int64]:
    """Read (H, W) labels; of a pyramid the coarsest level that is at least `width` pixels wide, where it is large.

    Raises:
        ValueError: with a short reason: it is no picture of labels.
    """
    with open(path, "rb") as file:
        is_tiff = file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    try:
        pixels = _read_tiff(path, width) if is_tiff else _read_picture(path)
    except ValueError:
        raise
    except Exception as error:  # Pillow and imagecodecs raise anything of a damaged file
        raise ValueError(f"no picture that can be read ({str(error).partition(chr(10))[0][:100]})") from None
    pixels = np.squeeze(pixels)
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4) and (pixels[..., :3] == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.ndim != 2:
        raise ValueError("a picture of colours, and nothing says which are tissue: one channel of labels is wanted")
    whole = np.rint(pixels).astype(np.int64) if pixels.dtype.kind == "f" else pixels.astype(np.int64)
    if pixels.dtype.kind == "f" and not np.array_equal(whole, pixels):
        raise ValueError("its labels are no whole numbers")
    return whole


def side(shape: tuple[int, ...], size: tuple[int, int]) -> float:
    """Compute how many pixels of level 0 a side a label's pixel covers, from the sizes.

    Args:
        shape: height and width of the labels.
        size: width and height of level 0.

    Raises:
        ValueError: they are not of one form.
    """
    (height, width), (across, down) = shape, size
    if abs(height - width * down / across) > 2 + ROOM * height:
        turned = abs(width - height * down / across) <= 2 + ROOM * width
        raise ValueError(
            f"{width} x {height} pixels don't fit a slide of {across} x {down}"
            + (": is it turned by 90 degrees?" if turned else ": is it of another slide, or of a part of it?")
        )
    return max(across / width, down / height)


def sampled(
    marked_HW: NDArray[np.bool_], size: tuple[int, int], shape: tuple[int, int], scale: float
) -> NDArray[np.bool_]:
    """Bring a mask over a whole slide to other pixels: the nearest, of finer masks what most of them say.

    Args:
        marked_HW: over all of level 0.
        size: width and height of level 0.
        shape: height and width wanted.
        scale: pixels of level 0 a side of one of those.
    """
    fine = int(scale * marked_HW.shape[1] / size[0])
    picture = Image.fromarray(marked_HW.astype(np.uint8) * 255)
    small = np.asarray(picture.reduce(fine) if fine > 1 else picture) >= 128
    # a reduced picture's last row may cover less than the others
    finer = max(fine, 1)
    rows, columns = (
        ((np.arange(wanted) + 0.5) * scale / level * known / finer).astype(int).clip(0, there - 1)
        for wanted, level, known, there in zip(shape, size[::-1], marked_HW.shape, small.shape, strict=True)
    )
    return np.asarray(small[np.ix_(rows, columns)])


def _read_picture(path: Path) -> NDArray[np.generic]:
    with Image.open(path) as picture:
        if picture.format in LOSSY:
            raise ValueError("a JPEG, which blurs labels: PNG or TIFF is wanted")
        if picture.width * picture.height > LARGEST:
            raise ValueError(f"{picture.width} x {picture.height} pixels, more than are read at once: shrink it")
        return np.asarray(picture)  # of a palette the numbers, not their colours


def _read_tiff(path: Path, width: int) -> NDArray[np.generic]:
    extra("imagecodecs", f"{path.name}: reading a TIFF of labels")
    with extra("tifffile", f"{path.name}: reading a TIFF of labels").TiffFile(path) as file:
        levels = file.series[0].levels
        wide = [level for level in levels if level.keyframe.imagewidth >= width]
        area = levels[0].keyframe.imagewidth * levels[0].keyframe.imagelength
        level = levels[0] if area <= WHOLE or not wide else wide[-1]
        if level.keyframe.imagewidth * level.keyframe.imagelength > LARGEST:
            raise ValueError(f"{level.keyframe.imagewidth} x {level.keyframe.imagelength} pixels: shrink it")
        pixels: NDArray[np.generic] = level.asarray()
        return np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 and len(pixels) in (3, 4) else pixels
