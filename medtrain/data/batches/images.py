"""Images: what any source of pictures with labels gives, from its rows to batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medtrain.core.progress import Progress
from medtrain.data.base import Data
from medtrain.data.batches.pictures import (
    Batch,
    Pictures,
    drawn,
    headers,
    list_pictures,
    numbers,
    open_pictures,
    scaled,
)
from medtrain.data.batches.pieces import Pieces, WholePictures
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import image_form, normalisation
from medtrain.io.image import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.medmnist import WholeForm
from medtrain.target import DataSpec


class ImageData(Data):
    """Images from a memory map; see `Data` for arguments and attributes.

    A batch's ``x`` is (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit.

    Attributes, known after `listed`:
        form: working size and channels; a source that brings its pixels along decides.
        cache: the pixels, by position in the manifest.
    """

    inspector = "images"
    form: ImageForm | WholeForm
    cache: Pictures

    def inputs(self, path: Path) -> Manifest:
        return list_pictures(path, self.cfg)

    def arrange(self, manifest: Manifest) -> Manifest:
        own = manifest.content
        self.form = image_form(self.cfg, self.fixed.spec) if own is None else own.form
        self.noun = "images" if len(self.form.size) == 2 else "volumes"
        normalisation(self.cfg, self.form.channels)
        return manifest

    def describe(self, manifest: Manifest) -> DataSpec:
        mean, std = normalisation(self.cfg, self.form.channels)
        assert manifest.target is not None
        return DataSpec(manifest.target, self.form.channels, self.form.size, mean=mean, std=std)

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        if manifest.content is not None:
            self.cache = manifest.content
        else:
            form = image_form(self.cfg, self.fixed.spec)
            self.cache = open_pictures(manifest, form, self.cfg, self.progress, self.report)
        return Files(self.cache.content, self.cache.identities, self.cache.problems, self.cache.decoded)

    def headers(self, manifest: Manifest, rows: Rows, progress: Progress | None = None) -> list[Header | None]:
        """Read what the files of these rows say of their pictures."""
        return headers(manifest, rows, progress)

    def dataset(self, rows: Rows) -> CaseImages:
        return CaseImages(self.cache, self.slots[rows], np.asarray(rows, np.int64), self.y(rows))

    def pieces_of(self, manifest: Manifest) -> Pieces:
        return WholePictures(manifest, self.cache, self.form)

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        pixels = self.cache[self.slots[numbers(self.cases, cases)]]
        return pixels if pixels.ndim == 4 else pixels[:, :, pixels.shape[2] // 2]  # of a volume its middle slice


class CaseImages(Dataset[Batch]):
    """Take images by position; each fetch is a whole batch.

    Args:
        cache: the pixels.
        slots: the number in `cache` of each image.
        cases: the row number in `cases` of each image.
        y: labels as batches have them, a row an image; None for images without labels.
    """

    def __init__(
        self,
        cache: Pictures,
        slots: NDArray[np.int64],
        cases: NDArray[np.int64],
        y: Tensor | None = None,
    ) -> None:
        self.cache = cache
        # Tensors: processes started by spawn share them, where arrays would be copied to each.
        self.slots, self.cases = torch.from_numpy(slots), torch.from_numpy(cases)
        self.y = y

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, position: int) -> Batch:
        return {name: tensor[0] for name, tensor in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int | tuple[int, int]]) -> Batch:
        """Give x (B, C, H, W) uint8, or float32 in 0..1 of a 16-bit cache; y (see `Data`), case int64 (B,).

        Pairs (position, draw), of samplers that repeat images, also give draw int64 (B,).
        """
        index, draw = drawn(positions)
        batch = {"x": scaled(self.cache[self.slots[index].numpy()]), "case": self.cases[index]} | draw
        if self.y is not None:
            batch["y"] = self.y[index]
        return batch
