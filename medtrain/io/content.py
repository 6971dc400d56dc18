"""What a case is, whatever its file is called, where it lies and how it is packed: a short hash of what is decoded.

By it moved data are known again, and the same case in two splits, or in other data, is found. The word before the colon
names the rule, so that a rule can change without old hashes being mistaken for new ones:

    p1  pixels of a picture, upright, at the depth at which they are stored; of DICOM before rescale and window. A PNG
        and a BMP of the same pixels are one picture, a PNG and a JPEG of it are two. Equal colours are grey.
    v3  a volume's voxels in one orientation, by the order of its grey levels (`medtrain.io.content_voxels`): neither
        scale nor spacing nor place count. (v1 took all of these, v2 the values and a spacing to 0.01 mm.)
    m1  labels of a mask's voxels in one orientation.
    f1  features of a bag, in whatever order its instances come; coordinates don't count.
    s1  a slide: OpenSlide's quickhash-1, or pixels of its lowest level.
    c1  a case of several of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from medtrain.io.content_voxels import is_whole, ranked

BYTES = 16
PIXELS, VOXELS, LABELS, FEATURES, SLIDE, SEVERAL = "p1", "v3", "m1", "f1", "s1", "c1"


def of_pixels(x: NDArray[np.generic]) -> str:
    """Hash a picture as stored: (H, W) or (H, W, 3), of any integer type."""
    if x.ndim == 3 and (x[..., 0] == x[..., 1]).all() and (x[..., 0] == x[..., 2]).all():
        x = x[..., 0]
    return _hash(PIXELS, _form(x), [x])


def of_voxels(x_CDHW: NDArray[np.generic]) -> str:
    """Hash a volume in canonical orientation, before any resampling, by the order of its grey levels.

    Of more than 65,536 different values whole numbers are equal whatever type stores them, others to single precision.
    """
    planes = ranked(x_CDHW)
    if planes is None:
        kind = np.dtype("<i8") if is_whole(x_CDHW) else np.dtype("<f4")
        planes = (plane.astype(kind) + kind.type(0) for channel in x_CDHW for plane in channel)  # no -0
    with np.errstate(over="ignore"):
        return _hash(VOXELS, str(x_CDHW.shape), planes)


def of_labels(x_CDHW: NDArray[np.generic]) -> str:
    """Hash a mask in canonical orientation, by its labels as they are."""
    return _hash(LABELS, str(x_CDHW.shape), (plane.astype("<u2") for channel in x_CDHW for plane in channel))


def of_features(x: NDArray[np.generic]) -> str:
    """Hash a bag of instances, (N, ...)."""
    if not len(x):
        return _hash(FEATURES, _form(x), [])
    rows = np.ascontiguousarray(x, _little(x)).reshape(len(x), -1).view(np.uint8)
    return _hash(FEATURES, _form(x), [b"".join(sorted(blake2b(row.data, digest_size=BYTES).digest() for row in rows))])


def of_texts(rule: str, texts: Iterable[str]) -> str:
    """Hash what identifies something already, in this order: a slide's own hash, the contents of a case of several."""
    return f"{rule}:{blake2b(chr(10).join(texts).encode(), digest_size=BYTES).hexdigest()}"


def of_several(contents: Sequence[str]) -> str:
    """Put the contents of a case's parts together; that of a single part stays, and '' is unknown."""
    if len(contents) == 1:
        return contents[0]
    return of_texts(SEVERAL, contents) if all(contents) else ""


def first_with_same(contents: Sequence[str]) -> NDArray[np.int64]:
    """Number each by the first that has the same content; what is unknown ('') is like no other."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, n) if text else n for n, text in enumerate(contents)], np.int64)


def to_bytes(content: str) -> bytes:
    """Give the hash alone as bytes, for tables of fixed width."""
    return bytes.fromhex(content.partition(":")[2])


def from_bytes(rule: str, hashes: NDArray[np.uint64], known: NDArray[np.bool_]) -> list[str]:
    """Write the contents whose hashes are (N, 2) numbers of 64 bits; '' where nothing is known."""
    text = np.ascontiguousarray(hashes, "<u8").tobytes().hex()
    width = 2 * BYTES
    return [f"{rule}:{text[width * n : width * (n + 1)]}" if there else "" for n, there in enumerate(known.tolist())]


def _form(x: NDArray[np.generic]) -> str:
    return f"{x.dtype.kind}{x.dtype.itemsize} {x.shape}"


def _hash(rule: str, form: str, parts: Iterable[NDArray[np.generic] | bytes]) -> str:
    hashed = blake2b(form.encode(), digest_size=BYTES)
    for part in parts:
        hashed.update(part if isinstance(part, bytes) else np.ascontiguousarray(part, _little(part)).data)
    return f"{rule}:{hashed.hexdigest()}"


def _little(x: NDArray[np.generic]) -> np.dtype[np.generic]:
    return x.dtype.newbyteorder("<")
