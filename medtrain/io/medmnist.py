"""MedMNIST's .npz files: unpacked once into one memory map at working size, so that a start reads no archive.

Yang et al., MedMNIST v2, Scientific Data 2023: arrays ``{train,val,test}_{images,labels}``, images (N, H, W) or
(N, H, W, 3) uint8, of volumes (N, D, H, W), labels (N, 1) class numbers or (N, C) indicators.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from medtrain.core.errors import DataError, MedtrainError, UsageError
from medtrain.io.build_once import build_once
from medtrain.io.content import first_with_same, of_pixels, of_voxels
from medtrain.io.image import fit_image
from medtrain.io.image_form import ImageForm

SPLITS = ("train", "val", "test")
VERSION = 4  # of what is unpacked
CONTENTS = "contents.txt"
CHUNK = 256  # pictures in memory at a time


@dataclass(frozen=True)
class WholeForm:
    """The form of volumes as the file has them: (D, H, W), one channel."""

    size: tuple[int, ...]
    channels: int = 1


@dataclass
class MedMNIST:
    """An opened file; the pictures of the splits in the order train, val, test.

    Attributes:
        labels: (N, 1) class numbers or (N, C) indicators.
        split: the split of each picture.
        form: of the pictures.
        identities: what each picture is, by `medtrain.io.content`.
        problems, decoded: as `ImageCache`'s; an archive that opens has no bad pictures.
    """

    file: Path
    labels: NDArray[np.int64]
    split: NDArray[np.str_]
    form: ImageForm | WholeForm
    identities: list[str]
    problems: dict[int, str] = field(default_factory=dict)
    decoded: int = 0
    _map: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def content(self) -> NDArray[np.int64]:
        """(N,) the number of the first picture with the same pixels, for each."""
        return first_with_same(self.identities)

    def __getitem__(self, indices: ArrayLike) -> NDArray[Any]:
        """Copy the pictures `indices`: (B, C, H, W) or (B, C, D, H, W) uint8."""
        if self._map is None:
            self._map = np.load(self.file, mmap_mode="r")
        return np.asarray(self._map[np.asarray(indices, np.int64)])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}  # workers open it anew


def size_and_channels(file: Path) -> tuple[tuple[int, ...], int]:
    """Read (height, width), of volumes (depth, height, width), and the number of channels from the headers alone.

    Raises:
        UsageError: no such file. DataError: not a MedMNIST file.
    """
    shapes = {name: shape for name, (shape, _) in _headers(file).items() if name.endswith("_images")}
    first = next(iter(shapes.values()))
    if any(shape[1:] != first[1:] for shape in shapes.values()):
        raise DataError(f"{file}: the splits differ in size: {', '.join(f'{n} {s}' for n, s in shapes.items())}")
    if len(first) == 3 or (len(first) == 4 and first[3] == 3):
        return (first[1], first[2]), 3 if len(first) == 4 else 1
    if len(first) == 4:
        return first[1:], 1
    raise UsageError(
        f"data.file={file} holds arrays of shape {first}, not images (N, height, width), images (N, height, width, 3) "
        "or volumes (N, depth, height, width)"
    )


def open_medmnist(file: Path, form: ImageForm | WholeForm, folder: Path) -> MedMNIST:
    """Open the pictures of `file` in `form`, unpacked now unless they are under `folder`/medmnist already.

    Raises:
        UsageError: no such file. DataError: not a MedMNIST file. MedtrainError: the cache folder cannot be written.
    """
    headers = _headers(file)
    status = file.stat()
    key = json.dumps([VERSION, str(file.resolve()), status.st_size, status.st_mtime_ns, asdict(form)])
    place = folder / "medmnist" / hashlib.sha256(key.encode()).hexdigest()[:32]
    splits = [split for split in SPLITS if f"{split}_images" in headers]
    labels = np.concatenate([_labels(file, split, headers) for split in splits])
    names = np.repeat(splits, [headers[f"{split}_images"][0][0] for split in splits])
    built = build_once(place, lambda temporary: _unpack(file, form, splits, len(labels), temporary))
    identities = (place / CONTENTS).read_text(encoding="ascii").split()
    return MedMNIST(
        (place / "pixels.npy").absolute(), labels, names, form, identities, decoded=len(labels) if built else 0
    )


def _headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Read {member: (shape, dtype)}, without reading pixels."""
    if not file.is_file():
        raise UsageError(f"data.file={file}: no such file; give one of MedMNIST's .npz")
    headers = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    shape, _, dtype = _header(member)
                    headers[name.removesuffix(".npy")] = (shape, dtype)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError) as error:
        raise DataError(f"{file} is not a .npz that can be read: {error}") from None
    missing = [name for split in ("train", "test") for name in _members(split) if name not in headers]
    missing += [name for name in _members("val") if name not in headers and f"{_other(name)}" in headers]
    if missing:
        raise DataError(f"{file} lacks {', '.join(missing)}: not a MedMNIST file (it holds {', '.join(headers)})")
    for split in SPLITS:
        images, labels = _members(split)
        if images in headers and headers[images][0][0] != headers[labels][0][0]:
            raise DataError(f"{file}: {headers[images][0][0]} {images}, but {headers[labels][0][0]} {labels}")
        if images in headers and headers[images][1] != np.uint8:
            raise DataError(f"{file}: {images} are {headers[images][1]}, not uint8")
    return headers


def _members(split: str) -> tuple[str, str]:
    return f"{split}_images", f"{split}_labels"


def _other(name: str) -> str:
    split, _, what = name.partition("_")
    return f"{split}_{'labels' if what == 'images' else 'images'}"


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(member)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(member)
    if fortran or dtype.hasobject:
        raise ValueError("an array that is no plain C-ordered block")
    return shape, fortran, dtype


def _labels(file: Path, split: str, headers: Any) -> NDArray[np.int64]:
    with np.load(file) as archive:
        labels = archive[f"{split}_labels"]
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.number) or not np.array_equal(labels, np.floor(labels)):
        raise DataError(f"{file}: {split}_labels are no class numbers: {labels.dtype} {labels.shape}")
    return labels.astype(np.int64)


def _unpack(file: Path, form: ImageForm | WholeForm, splits: list[str], count: int, place: Path) -> None:
    identities: list[str] = []
    with open(place / "pixels.npy", "wb") as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, form.channels, *form.size)}
        npy.write_array_header_1_0(out, header)
        for split in splits:
            for image in _pictures(file, f"{split}_images"):
                whole = isinstance(form, WholeForm)
                identities.append(of_voxels(image[None]) if whole else of_pixels(image))
                if isinstance(form, ImageForm):
                    image = fit_image(image, form.size, form.channels, form.fit, form.window)
                out.write(image.tobytes())
    (place / CONTENTS).write_text("\n".join(identities), encoding="ascii")


def _pictures(file: Path, name: str) -> Iterator[NDArray[np.uint8]]:
    """Yield one picture after the other, (H, W) or (H, W, 3), without holding them all."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
        (count, *shape), _, _ = _header(member)
        size = int(np.prod(shape))
        for start in range(0, count, CHUNK):
            here = min(CHUNK, count - start)
            block = member.read(here * size)
            if len(block) < here * size:
                raise MedtrainError(f"{file}: {name} ends too early")
            yield from np.frombuffer(block, np.uint8).reshape(here, *shape)
