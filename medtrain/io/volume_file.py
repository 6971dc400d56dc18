"""One cached volume is one file: a page of JSON, then its voxels as int16 (masks uint8), to be memory-mapped.

Voxels lie in the order D, H, W, in one block. A file is written beside its place and renamed, so it is whole or not
there.
"""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.io.files import atomic_path
from medtrain.io.volume import Source, Triple

PAGE = 4096

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Stored:
    """A volume in the cache. Its values are ``stored * scale + offset``, with one scale and offset a channel.

    Attributes:
        file, start: where the voxels are, from which byte.
        shape: (C, D, H, W).
        dtype: int16 or uint8.
        affine: as of `Volume`.
        spacing: mm along D, H, W.
        low, high: a channel each, the 0.5th and 99.5th percentile within `box`.
        box: first and last + 1 along D, H, W of what is no background; of a mask, of what it marks (0 to 0 if nothing).
        marked: voxels that a mask marks.
        source: the file that it was made from.
        identity: what its voxels are as read, whatever was stored of them (`medtrain.io.content`).
    """

    file: Path
    start: int
    shape: tuple[int, int, int, int]
    dtype: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    affine: NDArray[np.float64]
    spacing: Triple
    low: tuple[float, ...]
    high: tuple[float, ...]
    box: Box
    marked: int
    source: Source
    identity: str

    def mapped(self) -> NDArray[Any]:
        """The stored voxels (C, D, H, W), mapped as long as the array lives: its pages leave the process with it."""
        try:
            with open(self.file, "rb") as file:
                pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise MedtrainError(f"{self.file} is gone: the cache was emptied during the run; start again") from None
        return np.frombuffer(pages, self.dtype, int(np.prod(self.shape)), self.start).reshape(self.shape)

    def values(self) -> NDArray[np.float32]:
        """The whole volume in its own units, (C, D, H, W)."""
        scale, offset = (np.array(each, np.float32).reshape(-1, 1, 1, 1) for each in (self.scale, self.offset))
        return np.asarray(self.mapped() * scale + offset, np.float32)


def write_stored(file: Path, stored_CDHW: NDArray[Any], facts: dict[str, Any]) -> None:
    """Write a volume; `facts` are the further attributes of `Stored` as plain values."""
    head = {"shape": list(stored_CDHW.shape), "dtype": stored_CDHW.dtype.name} | facts
    with atomic_path(file) as temporary, open(temporary, "wb") as out:
        out.write(_page(head))
        for channel in stored_CDHW:
            out.write(np.ascontiguousarray(channel).data)


def write_reason(file: Path, reason: str, readers: int) -> None:
    """Write why a file is no volume, as these versions of the readers have it."""
    with atomic_path(file) as temporary:
        temporary.write_bytes(_page({"problem": reason, "readers": readers}))


def read_stored(file: Path, readers: int) -> Stored | str | None:
    """The volume, the reason why there is none, or None: it is not there, or other readers could not read it."""
    try:
        with open(file, "rb") as opened:
            line = opened.readline()
    except FileNotFoundError:
        return None
    head = json.loads(line)
    if "problem" in head:
        return str(head["problem"]) if head["readers"] == readers else None
    return Stored(
        file=file,
        start=-(-len(line) // PAGE) * PAGE,
        shape=tuple(head["shape"]),
        dtype=head["dtype"],
        scale=tuple(head["scale"]),
        offset=tuple(head["offset"]),
        affine=np.array(head["affine"]),
        spacing=tuple(head["spacing"]),
        low=tuple(head["low"]),
        high=tuple(head["high"]),
        box=tuple(tuple(ends) for ends in head["box"]),  # type: ignore[arg-type]
        marked=head["marked"],
        source=Source.from_dict(head["source"]),
        identity=head["identity"],
    )


def _page(head: dict[str, Any]) -> bytes:
    line = json.dumps(head).encode() + b"\n"
    return line + b" " * (-len(line) % PAGE)
