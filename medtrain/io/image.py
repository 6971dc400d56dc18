"""Reader of pictures as they come (8 or 16 bit, grey, colour, palette, alpha, turned, DICOM): arrays of one size.

Every reader of pictures in the house goes through `read_fitted`, so that training, testing, prediction and export
see the same pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medtrain.io.content import of_pixels
from medtrain.io.dicom import read_dicom_stored
from medtrain.io.dicom_files import HEAD, is_dicom
from medtrain.io.files import read_start
from medtrain.io.image_form import PADDED, ImageForm

Pixels = NDArray[Any]  # uint8 or uint16

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG and PIL weigh colours


def read_image(path: str | os.PathLike[str], at_least: int | None = None) -> Pixels:
    """Read a PNG, JPEG, TIFF or BMP file (of several frames the first) upright by EXIF, or a DICOM file.

    What a file is, its content says, not its suffix. Transparency is composited on black, the background of a
    radiograph. 16-bit grey stays 16 bit; 16-bit colour comes as 8 bit, since PIL reads no other. DICOM comes as a
    viewer shows it (`medtrain.io.dicom.read_dicom`).

    Args:
        at_least: pixels a side that suffice; a JPEG may then be decoded at 1/2, 1/4 or 1/8 of its scale.

    Returns:
        (H, W) or (H, W, 3), uint8 or uint16.

    Raises:
        ValueError: with a short reason, where the file cannot be read as a picture.
    """
    return _read(Path(path), at_least, None).pixels


def read_fitted(path: str | os.PathLike[str], form: ImageForm) -> Pixels:
    """Read with `read_image`, then `fit_image`: (C, H, W), uint8 or uint16. Raises ValueError with a short reason."""
    return _fitted(_read(Path(path), _enough(form), form.window), form)


def read_identified(path: str | os.PathLike[str], form: ImageForm) -> tuple[Pixels, str]:
    """Read as `read_fitted` does, and tell what the picture is (`medtrain.io.content`), whatever `form` makes of it."""
    raw = _read(Path(path), _enough(form), form.window)
    whole = read_image(path) if raw.stored is None else raw.stored
    return _fitted(raw, form), of_pixels(whole)


Window = tuple[float, float] | None


@dataclass(frozen=True)
class _Raw:
    """A decoded picture.

    Args:
        window: still to be applied.
        stored: the pixels as the file has them; None of a JPEG that was decoded at a smaller scale.
    """

    pixels: Pixels
    window: Window
    stored: Pixels | None


def _enough(form: ImageForm) -> int:
    """Twice the target keeps what a JPEG's own scaling smooths away below what the resampling does."""
    return 2 * max(form.size)


def _fitted(raw: _Raw, form: ImageForm) -> Pixels:
    return fit_image(raw.pixels, form.size, form.channels, form.fit, raw.window)


def _read(path: Path, at_least: int | None, window: Window) -> _Raw:
    """Decode a file; DICOM needs its header to be shown, so its window is applied here."""
    if is_dicom(read_start(path, HEAD)):
        array, stored = read_dicom_stored(path, window)
        return _Raw(array, (0.0, float(np.iinfo(array.dtype).max)), stored)
    try:
        with Image.open(path) as image:
            size = image.size
            if at_least and image.format == "JPEG":
                image.draft(None, (at_least, at_least))
            reduced = image.size != size
            pixels = _pixels(ImageOps.exif_transpose(image))
            return _Raw(pixels, window, None if reduced else pixels)
    except UnidentifiedImageError:
        raise ValueError("not a picture that can be read (PNG, JPEG, TIFF, BMP, DICOM)") from None
    except Image.DecompressionBombError:
        raise ValueError("more than 178 million pixels") from None
    except ValueError:
        raise
    except Exception as error:  # PIL's readers raise anything, from SyntaxError to struct.error, on broken files
        reason = str(error).lower()
        if "truncated" in reason or isinstance(error, EOFError):
            raise ValueError("truncated picture: the file ends too early") from None
        raise ValueError(f"damaged picture: {error}") from None


def _pixels(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("I", "F"):
        stored = np.asarray(image)
        if image.mode == "F" or stored.min() < 0 or stored.max() > 65535:
            raise ValueError(f"32-bit {'floating point' if image.mode == 'F' else 'integer'} pixels; save it as 16 bit")
        return stored.astype(np.uint16)
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or (image.mode == "P" and "transparency" in image.info):
        grey = image.mode in ("LA", "La")
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), over)
        return np.asarray(image.convert("L" if grey else "RGB"))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))


def fit_image(
    array: Pixels,
    size: Sequence[int],
    channels: int = 1,
    fit: str = "pad",
    window: Sequence[float] | None = None,
) -> Pixels:
    """Apply window, colour and size to one picture (arguments: `ImageForm`), by antialiased bilinear resampling.

    Args:
        array: (H, W) or (H, W, 3), uint8 or uint16.

    Returns:
        (channels, *size), uint8 of an 8-bit picture and uint16, over its full range, of a deeper one.
    """
    deep = array.dtype != np.uint8
    white = 65535.0 if deep else 255.0
    lo, hi = (float(window[0]), float(window[1])) if window is not None else _range(array, white)
    if array.ndim == 3 and channels == 1:
        array_f: Pixels = array.astype(np.float32) @ LUMA
    else:
        array_f = array
    if (lo, hi) != (0.0, white):
        array_f = np.clip((array_f.astype(np.float32) - lo) * (white / (hi - lo)), 0, white)
    planes = [array_f] if array_f.ndim == 2 else [array_f[..., c] for c in range(array_f.shape[-1])]
    resized = np.stack([_resize(plane, (int(size[0]), int(size[1])), fit) for plane in planes])
    if len(resized) < channels:
        resized = np.repeat(resized, channels, axis=0)
    return np.clip(np.rint(resized), 0, white).astype(np.uint16 if deep else np.uint8)


def _range(array: Pixels, white: float) -> tuple[float, float]:
    # 12-bit detectors store 0..4095 in 16-bit files: as they are, they would be black.
    if array.dtype == np.uint8:
        return 0.0, white
    lo, hi = float(array.min()), float(array.max())
    return (lo, hi) if hi > lo else (0.0, white)


def _resize(plane_HW: NDArray[np.generic], size: tuple[int, int], fit: str) -> NDArray[np.float32]:
    height, width = plane_HW.shape
    out_h, out_w = size
    new_h, new_w, box = out_h, out_w, (0.0, 0.0, float(width), float(height))
    if fit in PADDED:
        new_h, new_w = _padded((height, width), size, fit)
    elif fit == "crop":  # cut first: a strip of 1 x 20,000 pixels, resized first, would take gigabytes
        scale = max(out_h / height, out_w / width)
        cut_h, cut_w = out_h / scale, out_w / scale
        left, top = (width - cut_w) / 2, (height - cut_h) / 2
        box = (left, top, left + cut_w, top + cut_h)
    # PIL's uint8 path is several times faster than its float path, and exact to the rounding.
    image = Image.fromarray(plane_HW if plane_HW.dtype == np.uint8 else plane_HW.astype(np.float32))
    small = np.asarray(image.resize((new_w, new_h), Image.Resampling.BILINEAR, box), np.float32)
    if (new_h, new_w) == size:
        return small
    out = np.zeros(size, np.float32)
    out[content_box((height, width), size, fit)] = small
    return out


def content_box(shape: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[slice, slice]:
    """Find rows and columns of a picture fitted to `size` that are no padding.

    Args:
        shape: (H, W) as stored.
    """
    if fit not in PADDED:
        return slice(0, size[0]), slice(0, size[1])
    new_h, new_w = _padded(shape, size, fit)
    above, beside = (size[0] - new_h) // 2, (size[1] - new_w) // 2
    return slice(above, above + new_h), slice(beside, beside + new_w)


def _padded(shape: tuple[int, int], size: tuple[int, int], fit: str) -> tuple[int, int]:
    """Compute height and width that a picture has within its padding."""
    scale = min(size[0] / shape[0], size[1] / shape[1], 1.0 if fit == "shrink" else np.inf)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def placement(shape: tuple[int, int], form: ImageForm) -> tuple[float, float, float, float]:
    """Compute (sx, sy, tx, ty) by which `fit_image` places a picture: x = sx * x_stored + tx in pixels of `form`.

    Coordinates run from edge to edge: the first pixel reaches from 0 to 1.

    Args:
        shape: (H, W) as stored.
    """
    if form.fit == "crop":
        scale = max(out / stored for out, stored in zip(form.size, shape, strict=True))
        down, right = ((out - stored * scale) / 2 for out, stored in zip(form.size, shape, strict=True))
        return scale, scale, right, down
    rows, columns = content_box(shape, form.size, form.fit)
    scales = (columns.stop - columns.start) / shape[1], (rows.stop - rows.start) / shape[0]
    return (*scales, float(columns.start), float(rows.start))


def original_point(point: tuple[float, float], shape: tuple[int, int], form: ImageForm) -> tuple[float, float]:
    """Map a point of a fitted picture to the picture as stored: `placement` backwards.

    Args:
        point: (row, column) in pixels of `form`; the middle of the first pixel is (0.5, 0.5).
        shape: (H, W) as stored.

    Returns:
        (row, column) in stored pixels, counted from 0 and within the picture (a point of the padding goes to its edge).
    """
    sx, sy, tx, ty = placement(shape, form)
    row, column = (point[0] - ty) / sy - 0.5, (point[1] - tx) / sx - 0.5
    return min(max(row, 0.0), shape[0] - 1.0), min(max(column, 0.0), shape[1] - 1.0)
