"""Cases as a frozen encoder of pictures takes them: a picture is one piece, a volume its slices (see `slices.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medtrain.data.batches.pictures import Pictures
from medtrain.data.rows.manifest import Manifest
from medtrain.io.image_form import ImageForm
from medtrain.io.medmnist import WholeForm
from medtrain.io.stats import stat_files
from medtrain.io.store.files import digest


class Pieces(ABC):
    """What the rows of a manifest consist of, by number.

    Attributes:
        noun: what people call a piece.
        how: what its pixels depend on beside the case itself, as plain values.
        size: (H, W) of a piece.
        colours: are three channels red, green and blue?
        at_once: cases whose pieces are worth being encoded together.
    """

    noun: ClassVar[str]
    how: Mapping[str, Any]
    size: tuple[int, ...]
    colours: bool
    at_once: int

    @abstractmethod
    def content(self, number: int) -> bytes:
        """Hash what the pieces of a case are made of, beside `how`."""

    @abstractmethod
    def of(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        """Give (N, C, H, W) of each of these cases, uint8 or uint16, or float32 in 0..1."""

    def names(self) -> tuple[list[str], NDArray[np.int64]] | None:
        """Give paths of files, a case each, with their sizes and times; None where a case is no single file."""
        return None


@dataclass
class WholePictures(Pieces):
    """Pictures of a memory map, each one piece; of volumes in one archive their slices.

    Args:
        manifest: the rows.
        pictures: their pixels.
        form: at which they are kept.
    """

    manifest: Manifest
    pictures: Pictures
    form: ImageForm | WholeForm

    noun = "pictures"
    at_once = 64

    def __post_init__(self) -> None:
        self.how, self.size, self.colours = asdict(self.form), tuple(self.form.size[-2:]), len(self.form.size) == 2

    def content(self, number: int) -> bytes:
        return digest(np.ascontiguousarray(self.pictures[[number]]).tobytes())

    def of(self, numbers: Sequence[int]) -> list[NDArray[Any]]:
        x = self.pictures[list(numbers)]
        return list(x[:, None]) if x.ndim == 4 else list(x.swapaxes(1, 2))

    def names(self) -> tuple[list[str], NDArray[np.int64]] | None:
        manifest = self.manifest
        if manifest.content is not None:
            return None
        return manifest.path, stat_files(manifest.path) if manifest.states is None else manifest.states
