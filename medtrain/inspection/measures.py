"""One pass over the cached pictures: a few numbers, a thumbnail and a hash of each, so that memory stays small.

All is measured at working size, within the padding: what training sees, and nothing is decoded for it that training
would not decode.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from medtrain.core.cores import cores
from medtrain.core.progress import Progress
from medtrain.io.image import LUMA

Box = tuple[slice, slice]

BLOCK = 128  # pictures a thread has in memory
SIDE = 64  # pixels of the picture that is hashed and compared
THUMB = 16
HASH_SIDE = 16
"""256 bits. With the usual 64, films of different patients have the same hash; see docs/verbs/inspect.md."""


class Pixels(Protocol):
    """Pictures by number."""

    def __getitem__(self, indices: ArrayLike) -> NDArray[Any]:
        """Read pictures (B, C, H, W), uint8 or uint16."""


@dataclass(frozen=True)
class Measures:
    """Numbers, thumbnails and hashes of M pictures; about 350 bytes each.

    Attributes:
        row: their rows in the data.
        mean, sd: grey levels from 0 (black) to 1 (white).
        low, high: the share of pixels at the least and the greatest value there can be.
        flat: all pixels are equal.
        thumb: (M, THUMB * THUMB) uint8.
        hash: (M, 4) uint64, the perceptual hash (a DCT's signs, Zauner 2010).
    """

    row: NDArray[np.int64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    flat: NDArray[np.bool_]
    thumb: NDArray[np.uint8]
    hash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.row)


def measure(pictures: Pixels, row_M: NDArray[np.int64], boxes: Sequence[Box], progress: Progress | None) -> Measures:
    """Measure the pictures `row_M`, by threads.

    Args:
        boxes: of each, the part that is no padding (`medtrain.io.image.content_box`).
        progress: called with (done, total) pictures.
    """

    def block(start: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        some = slice(start, start + BLOCK)
        pixels_BCHW = pictures[row_M[some]]
        of_each = [_one(x_CHW[:, *box]) for x_CHW, box in zip(pixels_BCHW, boxes[some], strict=True)]
        numbers, thumbs, hashes = zip(*of_each, strict=True)
        return np.array(numbers), np.array(thumbs), np.array(hashes)

    nothing = np.empty((0, 5)), np.empty((0, THUMB**2), np.uint8), np.empty((0, HASH_SIDE**2 // 64), np.uint64)
    parts, done = [nothing], 0
    with ThreadPoolExecutor(cores()) as pool:
        for part in pool.map(block, range(0, len(row_M), BLOCK)):
            parts.append(part)
            done += len(part[0])
            if progress is not None:
                progress(done, len(row_M))
    numbers, thumbs, hashes = (np.concatenate(column) for column in zip(*parts, strict=True))
    mean, sd, low, high, flat = numbers.T
    return Measures(row_M, mean, sd, low, high, flat > 0, thumbs, hashes)


def _one(x_CHW: NDArray[Any]) -> tuple[tuple[float, ...], NDArray[np.uint8], NDArray[np.uint64]]:
    """Measure a picture: mean, SD, shares of black and white, whether it is flat; thumbnail; hash."""
    import imagehash  # late: training looks at no picture, but knows of inspection

    white = np.iinfo(x_CHW.dtype).max
    small = shrunk(x_CHW)
    thumb = small.reshape(THUMB, SIDE // THUMB, THUMB, SIDE // THUMB).mean((1, 3))
    # the hash of the shrunk picture is the picture's own: the library would shrink it to this size itself
    bits = imagehash.phash(Image.fromarray(small), HASH_SIDE, SIDE // HASH_SIDE).hash
    low, high = (x_CHW == 0).all(0).mean(), (x_CHW == white).all(0).mean()
    flat = (x_CHW == x_CHW[:, :1, :1]).all()
    numbers = (x_CHW.mean() / white, x_CHW.std() / white, low, high, flat)
    return tuple(map(float, numbers)), np.rint(thumb).astype(np.uint8).ravel(), np.packbits(bits).view(np.uint64)


def shrunk(x_CHW: NDArray[Any]) -> NDArray[np.uint8]:
    """Shrink a picture to grey, 8 bit and (SIDE, SIDE), whatever its shape."""
    grey = np.tensordot(LUMA, x_CHW, 1) if len(x_CHW) == 3 else x_CHW[0]
    if x_CHW.dtype != np.uint8:
        grey = grey.astype(np.float32) / 257
    image = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
