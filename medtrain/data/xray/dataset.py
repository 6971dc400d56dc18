"""Batches of cached images: one indexed copy from the memory map a batch, nothing decoded, nothing collated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

Batch = dict[str, Tensor]


class Pictures(Protocol):
    """Pixels by number, and why some could not be read.

    Attributes:
        problems: {number: reason}.
        decoded: how many files were decoded now.
        content: the number of the first picture with the same content, for each.
        identities: what each picture is, by `medtrain.io.content`.
    """

    problems: dict[int, str]
    decoded: int

    @property
    def content(self) -> NDArray[np.int64]: ...

    @property
    def identities(self) -> Sequence[str]: ...

    def __getitem__(self, indices: ArrayLike) -> NDArray[Any]:
        """(B, C, H, W), uint8 or uint16."""


class CaseImages(Dataset[Batch]):
    """Images by position; each fetch is a whole batch.

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
        """x (B, C, H, W) uint8, or float32 in 0..1 of a 16-bit cache; y (see `ImageData`), case int64 (B,).

        Pairs (position, draw), of samplers that repeat images, also give draw int64 (B,).
        """
        index, draw = torch.as_tensor(positions), None
        if index.ndim == 2:
            index, draw = index.unbind(1)
        pixels = self.cache[self.slots[index].numpy()]
        x = torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32) / np.float32(65535))
        batch = {"x": x, "case": self.cases[index]}
        if draw is not None:
            batch["draw"] = draw
        if self.y is not None:
            batch["y"] = self.y[index]
        return batch
