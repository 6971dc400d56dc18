"""No picture is decoded twice: each content once at working size, in memory maps that all who train share.

What is new in a list of files is decoded at set-up, by threads (PIL decodes and resizes outside the interpreter's
lock); epochs then cost a copy.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medtrain.core.progress import Progress, to_stderr
from medtrain.io import closed
from medtrain.io.content import PIXELS, first_with_same, from_bytes
from medtrain.io.dicom_notes import tell_notes
from medtrain.io.image import Pixels, read_identified
from medtrain.io.image_form import ImageForm
from medtrain.io.stats import absolute, stat_files
from medtrain.io.store.files import mapped
from medtrain.io.store.fill import Codec, Entries, keep
from medtrain.io.store.index import KINDS, Place
from medtrain.io.store.segment import Segment

VERSION = 6  # of decoding and keeping: raise it when the same file gives other pixels or another identity
BLACK = -1


@dataclass
class ImageCache:
    """Pictures by number, from memory maps that each process opens for itself on first use.

    Tables of one entry a picture are tensors, which processes started by spawn share instead of copying.

    Attributes:
        shape: (N, C, H, W).
        dtype: ``uint8``, or ``uint16`` (full range) where any of the files is deeper than 8 bit.
        problems: why a picture could not be read, by number; its pixels are black.
        decoded: how many files were decoded now.
    """

    shape: tuple[int, int, int, int]
    dtype: str
    problems: dict[int, str]
    decoded: int
    _files: list[tuple[Path, str]]
    _file_N: Tensor = field(repr=False)  # number in _files, or BLACK
    _slot_N: Tensor = field(repr=False)
    _identity_N2: Tensor = field(repr=False)
    _known_N: Tensor = field(repr=False)  # bool: problems are not, closed files are, though they have no pixels
    _maps: dict[int, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def content(self) -> NDArray[np.int64]:
        """Give (N,) the same number for pictures of the same decoded pixels; problems are like no other."""
        return first_with_same(self.identities)

    @property
    def identities(self) -> list[str]:
        """Say what each picture is, by `medtrain.io.content`; '' of problems."""
        return from_bytes(PIXELS, self._identity_N2.numpy(), self._known_N.numpy())

    def __getitem__(self, indices: ArrayLike) -> Pixels:
        """Copy the pictures `indices`: (B, C, H, W)."""
        index = torch.from_numpy(np.array(indices, np.int64))
        file_B, slot_B = self._places(index)
        numbers = np.unique(file_B)
        if len(numbers) == 1 and numbers[0] != BLACK and self._files[numbers[0]][1] == self.dtype:
            return np.asarray(self._map(int(numbers[0]))[slot_B])  # fancy indexing has copied
        out = np.zeros((len(file_B), *self.shape[1:]), self.dtype)
        for number in numbers[numbers != BLACK]:
            here = file_B == number
            out[here] = self._deepened(self._map(int(number))[slot_B[here]])
        return out

    def cut(self, indices: ArrayLike, corner_B2: ArrayLike, size: tuple[int, int]) -> Pixels:
        """Copy a part of `size` (H, W) of each of the pictures `indices`, from (left, top) on: (B, C, H, W)."""
        index = torch.from_numpy(np.array(indices, np.int64))
        out = np.zeros((len(index), self.shape[1], *size), self.dtype)
        file_B, slot_B = self._places(index)
        places = zip(file_B.tolist(), slot_B.tolist(), np.asarray(corner_B2), strict=True)
        for part, (number, slot, (left, top)) in zip(out, places, strict=True):
            if number != BLACK:
                part[:] = self._deepened(self._map(number)[slot, :, top : top + size[0], left : left + size[1]])
        return out

    def _places(self, index: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        """Find file and slot of pictures.

        Raises:
            MedtrainError: one of them is closed.
        """
        file_B = self._file_N[index]
        if bool((shut_B := (file_B == BLACK) & self._known_N[index]).any()):
            raise closed.refusal(f"picture {int(index[shut_B][0])}")
        return file_B.numpy(), self._slot_N[index].numpy()

    def _deepened(self, pixels: Pixels) -> Pixels:
        # 257 maps 255 to 65535, so that both depths scale to the same 0..1.
        return pixels if pixels.dtype == self.dtype else pixels.astype(self.dtype) * np.uint16(257)

    def _map(self, number: int) -> NDArray[Any]:
        if number not in self._maps:
            file, dtype = self._files[number]
            flat, record = mapped(file), math.prod(self.shape[1:]) * np.dtype(dtype).itemsize
            whole = flat[: len(flat) // record * record].view(dtype)
            self._maps[number] = whole.reshape(-1, *self.shape[1:])
        return self._maps[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


class PixelCodec(Codec):
    """Pictures in one form, one record of fixed size each.

    Args:
        root: of all caches.
    """

    packages = ("medtrain", "pillow", "pydicom", "python-gdcm", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
    chunk = 8

    def __init__(self, form: ImageForm, root: Path) -> None:
        digest = hashlib.sha256(json.dumps([VERSION, asdict(form)]).encode()).hexdigest()[:12]
        name = f"{form.size[0]}x{form.size[1]}x{form.channels}_{form.fit}_{digest}"
        self.form, self.folder = form, root / "images" / name

    def read(self, path: str, content: bytes, state: tuple[int, int]) -> tuple[Pixels, str]:
        """Decode a picture; returns its identity too."""
        return read_identified(path, self.form)

    def write(self, segment: Segment, read: tuple[Pixels, str]) -> Place:
        """Add a picture."""
        pixels, identity = read
        return segment.add(KINDS.index(pixels.dtype.name), pixels.tobytes(), identity)


def cache_images(
    paths: Sequence[str | os.PathLike[str]],
    form: ImageForm,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = to_stderr,
    states: NDArray[np.int64] | None = None,
) -> ImageCache:
    """Open the pictures `paths` in `form`; those that are not under `folder`/images yet are decoded now.

    Args:
        paths: one picture each; missing and unreadable ones become `ImageCache.problems`.
        folder: the root of all caches (see `cache_root`).
        progress: called with (done, total) of the new files.
        workers: decoding threads; by default one a core.
        report: is told whom we wait for, and what must not pass in silence of pictures that are read.
        states: of the files, from `stat_files`, where they are known; `paths` are absolute then.

    Raises:
        MedtrainError: the cache folder cannot be written or is full.
    """
    files = absolute(paths) if states is None else [str(path) for path in paths]
    states = stat_files(files) if states is None else states
    entries = keep(files, states, PixelCodec(form, folder), progress, workers, report)
    tell_notes(files, states, folder, report)
    return _open(entries, (form.channels, *form.size))


def _open(entries: Entries, shape: tuple[int, int, int]) -> ImageCache:
    index, good, here = entries.index, entries.good, entries.records
    pairs, number = np.unique(here["segment"] * np.int64(len(KINDS)) + here["kind"], return_inverse=True)
    where = [divmod(int(pair), len(KINDS)) for pair in pairs]
    slot = here["start"] // np.maximum(here["length"], 1)  # all records of a file are of one length
    return ImageCache(
        shape=(len(good), *shape),
        dtype=KINDS[int(here["kind"][good].max(initial=0))],
        problems=entries.problems,
        decoded=entries.decoded,
        _files=[(index.file(segment, kind).absolute(), KINDS[kind]) for segment, kind in where],
        _file_N=torch.from_numpy(np.where(good, number, BLACK).astype(np.int32)),
        _slot_N=torch.from_numpy(slot.astype(np.int64)),
        _identity_N2=torch.from_numpy(here["identity"].astype("<i8")),
        _known_N=torch.from_numpy(entries.known),
    )
