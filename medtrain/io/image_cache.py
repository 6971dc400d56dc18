"""No picture is decoded twice: each content once at working size, in memory maps that all who train share.

What is new in a list of files is decoded at set-up, by threads (PIL decodes and resizes outside the interpreter's
lock); epochs then cost a copy. A file that has its old size and time is not read again, and one that was only moved,
copied or renamed is not decoded again. Unreadable files are remembered with their reason.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medtrain.core.errors import MedtrainError
from medtrain.io.content import PIXELS, from_bytes
from medtrain.io.image import ImageForm, Pixels
from medtrain.io.image_fill import Progress as Progress
from medtrain.io.image_fill import Wanted, fill, to_stderr
from medtrain.io.image_store import KINDS, REASON, ImageStore
from medtrain.io.stats import absolute, stat_files

VERSION = 3  # of the decoding: raise it when the same file gives other pixels or another identity
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
    _content_N: Tensor = field(repr=False)
    _identity_N2: Tensor = field(repr=False)
    _maps: dict[int, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def content(self) -> NDArray[np.int64]:
        """(N,) the same number for pictures of the same decoded pixels; problems are like no other."""
        return self._content_N.numpy()

    @property
    def identities(self) -> list[str]:
        """What each picture is, by `medtrain.io.content`; '' of problems."""
        return from_bytes(PIXELS, self._identity_N2.numpy(), (self._file_N != BLACK).numpy())

    def __getitem__(self, indices: ArrayLike) -> Pixels:
        """A copy of the pictures `indices`: (B, C, H, W)."""
        index = torch.from_numpy(np.array(indices, np.int64))
        file_B, slot_B = self._file_N[index].numpy(), self._slot_N[index].numpy()
        numbers = np.unique(file_B)
        if len(numbers) == 1 and numbers[0] != BLACK and self._files[numbers[0]][1] == self.dtype:
            return np.asarray(self._map(int(numbers[0]))[slot_B])  # fancy indexing has copied
        out = np.zeros((len(file_B), *self.shape[1:]), self.dtype)
        for number in numbers[numbers != BLACK]:
            here = file_B == number
            pixels = self._map(int(number))[slot_B[here]]
            # 257 maps 255 to 65535, so that both depths scale to the same 0..1.
            out[here] = pixels if pixels.dtype == out.dtype else pixels.astype(out.dtype) * np.uint16(257)
        return out

    def cut(self, indices: ArrayLike, corner_B2: ArrayLike, size: tuple[int, int]) -> Pixels:
        """A part of `size` (H, W) of each of the pictures `indices`, from (left, top) on: (B, C, H, W)."""
        index = torch.from_numpy(np.array(indices, np.int64))
        out = np.zeros((len(index), self.shape[1], *size), self.dtype)
        places = zip(self._file_N[index].tolist(), self._slot_N[index].tolist(), np.asarray(corner_B2), strict=True)
        for part, (number, slot, (left, top)) in zip(out, places, strict=True):
            if number != BLACK:
                pixels = self._map(number)[slot, :, top : top + size[0], left : left + size[1]]
                part[:] = pixels if pixels.dtype == out.dtype else pixels.astype(out.dtype) * np.uint16(257)
        return out

    def _map(self, number: int) -> NDArray[Any]:
        if number not in self._maps:
            file, dtype = self._files[number]
            try:
                flat = np.memmap(file, dtype, "r")
            except FileNotFoundError:
                raise MedtrainError(f"{file} is gone: the cache was emptied during the run; start again") from None
            record = int(np.prod(self.shape[1:]))
            self._maps[number] = flat[: len(flat) // record * record].reshape(-1, *self.shape[1:])
        return self._maps[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}


def cache_images(
    paths: Sequence[str | os.PathLike[str]],
    form: ImageForm,
    folder: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    report: Callable[[str], None] = to_stderr,
    states: NDArray[np.int64] | None = None,
) -> ImageCache:
    """The pictures `paths` in `form`; those that are not under `folder`/images yet are decoded now.

    Args:
        paths: one picture each; missing and unreadable ones become `ImageCache.problems`.
        folder: the root of all caches (see `cache_root`).
        progress: called with (done, total) of the new files.
        workers: decoding threads; by default one a core.
        report: is told whom we wait for.
        states: of the files, from `stat_files`, where they are known; `paths` are absolute then.

    Raises:
        MedtrainError: the cache folder cannot be written or is full.
    """
    files = absolute(paths) if states is None else [str(path) for path in paths]
    wanted = Wanted(files, stat_files(files) if states is None else states)
    store = ImageStore(folder / "images" / _name(form), (form.channels, *form.size))
    decoded = fill(store, wanted, form, progress, workers or os.cpu_count() or 1, report)
    return _open(store, wanted, decoded)


def _name(form: ImageForm) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, asdict(form)]).encode()).hexdigest()[:12]
    return f"{form.size[0]}x{form.size[1]}x{form.channels}_{form.fit}_{digest}"


def _open(store: ImageStore, wanted: Wanted, decoded: int) -> ImageCache:
    records = wanted.records(store)
    found = store.table[records] if len(store.table) else np.zeros(len(records), store.table.dtype)
    picture = (records >= 0) & (found["kind"] != REASON)
    pairs, number = np.unique(found["segment"] * np.int64(len(KINDS)) + found["kind"], return_inverse=True)
    where = [divmod(int(pair), len(KINDS)) for pair in pairs]
    problems = {int(n): wanted.why(store, int(n), int(records[n])) for n in np.flatnonzero(~picture)}
    return ImageCache(
        shape=(len(records), *store.shape),
        dtype=KINDS[int(found["kind"][picture].max(initial=0))],
        problems=problems,
        decoded=decoded,
        _files=[(store.file(segment, kind).absolute(), KINDS[kind]) for segment, kind in where],
        _file_N=torch.from_numpy(np.where(picture, number, BLACK).astype(np.int32)),
        _slot_N=torch.from_numpy(found["slot"].astype(np.int64)),
        _content_N=torch.from_numpy(_labels(found["identity"], picture)),
        _identity_N2=torch.from_numpy(found["identity"].astype("<i8")),
    )


def _labels(content: NDArray[np.uint64], picture: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of the first picture of the same pixels; what is no picture has its own."""
    labels = np.arange(len(content), dtype=np.int64)
    rows = np.flatnonzero(picture)
    order = rows[np.lexsort((rows, content[rows, 1], content[rows, 0]))]
    first = np.ones(len(order), bool)
    first[1:] = (content[order[1:]] != content[order[:-1]]).any(1)
    labels[order] = order[np.flatnonzero(first)[np.cumsum(first) - 1]] if len(order) else order
    return labels
