"""Images: what any source of pictures with labels gives, from its rows to batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from medtrain.core.progress import Progress
from medtrain.core.streams import stream
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
from medtrain.data.batches.visits import Visits
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import image_form, normalisation
from medtrain.io.image_form import ImageForm
from medtrain.io.image_header import Header
from medtrain.io.medmnist import WholeForm
from medtrain.target import DataSpec


class ImageData(Data):
    """Images from a memory map; see `Data` for arguments and attributes.

    A batch's ``x`` is (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit. With
    data.columns.case training takes data.batch_size whole cases, evaluation so many images, a case's in order.

    Attributes, known after `listed`:
        form: working size and channels; a source that brings its pixels along decides.
        cache: the pixels, by position in the manifest.
    """

    inspector = "images"
    several = True
    form: ImageForm | WholeForm
    cache: Pictures

    def inputs(self, path: Path) -> Manifest:
        return list_pictures(path, self.cfg)

    def arrange(self, manifest: Manifest) -> Manifest:
        own = manifest.content
        self.form = image_form(self.cfg, self.fixed.spec) if own is None else own.form
        self.noun = "cases" if self.grouping else "images" if len(self.form.size) == 2 else "volumes"
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

    def settle(self) -> None:
        """Tell how many images a training batch of cases may hold."""
        if self.grouping is None or self.input is not None or self.fixed.spec is not None:
            return
        sizes = np.sort([len(self.members[slot]) for slot in self.slots[self.rows("train")].tolist()])[::-1]
        most, batch = self.cfg.get("images_per_case"), int(self.cfg["batch_size"])
        cut = f", at most {most} of a case (of {(sizes > most).sum():,} cases a part)" if most else ""
        taken = np.minimum(sizes, int(most)) if most else sizes
        self.report(
            f"a training batch of {batch:,} cases holds {taken[:batch].sum():,} images at most{cut}; validation and "
            f"test see all images, up to {sizes.max(initial=0):,} a case; data.images_per_case and data.batch_size "
            "bound memory"
        )

    def dataset(self, rows: Rows) -> CaseImages:
        if self.grouping is None:
            return CaseImages(self.cache, self.slots[rows], np.asarray(rows, np.int64), self.y(rows))
        members = [self.members[slot] for slot in self.slots[rows].tolist()]
        lengths = np.array([len(of) for of in members], np.int64)
        position = np.repeat(np.arange(len(rows)), lengths)
        instance = np.arange(len(position)) - np.repeat(lengths.cumsum() - lengths, lengths)
        images, y = np.array([image for of in members for image in of], np.int64), self.y(rows)
        return CaseImages(self.cache, images, rows[position], None if y is None else y[position], instance)

    def training_set(self, rows: Rows) -> Dataset[Batch]:
        images, most = self.dataset(rows), self.cfg.get("images_per_case")
        return images if self.grouping is None else WholeCases(images, most and int(most), self.seed)

    def sampler(self, rows: Rows, batch_size: int) -> Sampler[Any]:
        drawn = super().sampler(rows, batch_size)
        return drawn if self.grouping is None else Visits(drawn)

    def pieces_of(self, manifest: Manifest) -> Pieces:
        return WholePictures(manifest, self.cache, self.form)

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        slots = self.slots[numbers(self.cases, cases)]
        if self.grouping is not None:
            return np.stack([mosaic(self.cache[self.members[slot][:4]]) for slot in slots.tolist()])
        pixels = self.cache[slots]
        return pixels if pixels.ndim == 4 else pixels[:, :, pixels.shape[2] // 2]  # of a volume its middle slice


class CaseImages(Dataset[Batch]):
    """Take images by position; each fetch is a whole batch.

    Args:
        cache: the pixels.
        slots: the number in `cache` of each image.
        cases: the row number in `cases` of each image.
        y: labels as batches have them, a row an image; None for images without labels.
        instances: which image of its case each is; None where cases have but one.
    """

    def __init__(
        self,
        cache: Pictures,
        slots: NDArray[np.int64],
        cases: NDArray[np.int64],
        y: Tensor | None = None,
        instances: NDArray[np.int64] | None = None,
    ) -> None:
        self.cache = cache
        # Tensors: processes started by spawn share them, where arrays would be copied to each.
        self.slots, self.cases = torch.from_numpy(slots), torch.from_numpy(cases)
        self.instances = None if instances is None else torch.from_numpy(instances)
        self.y = y

    def __len__(self) -> int:
        return len(self.slots)

    def __getitem__(self, position: int) -> Batch:
        return {name: tensor[0] for name, tensor in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int | tuple[int, int]]) -> Batch:
        """Give x (B, C, H, W) uint8, or float32 in 0..1 of a 16-bit cache; y, instance (see `Data`), case int64 (B,).

        Pairs (position, draw), of samplers that repeat images, also give draw int64 (B,).
        """
        index, draw = drawn(positions)
        batch = {"x": scaled(self.cache[self.slots[index].numpy()]), "case": self.cases[index]} | draw
        if self.instances is not None:
            batch["instance"] = self.instances[index]
        if self.y is not None:
            batch["y"] = self.y[index]
        return batch


class WholeCases(Dataset[Batch]):
    """Take all images of cases by position, as training learns from cases; each fetch is a whole batch.

    Args:
        images: of all cases, one case after the other.
        most: so many images of a case, drawn anew each time; None for all.
        seed: of the run.
    """

    def __init__(self, images: CaseImages, most: int | None, seed: int) -> None:
        assert images.instances is not None
        self.images, self.most, self.seed = images, most, seed
        self.first = torch.cat([torch.nonzero(images.instances == 0).flatten(), torch.tensor([len(images)])])

    def __len__(self) -> int:
        return len(self.first) - 1

    def __getitems__(self, visits: Sequence[tuple[int, int, int]]) -> Batch:
        """Give what `CaseImages` gives of visits (position, draw, epoch), with their number, visit int64 (B,)."""
        chosen = [self._chosen(*visit) for visit in visits]
        lengths = torch.tensor([len(of) for of in chosen])
        pairs = [(image, draw) for of, (_, draw, _) in zip(chosen, visits, strict=True) for image in of]
        return self.images.__getitems__(pairs) | {"visit": torch.arange(len(visits)).repeat_interleave(lengths)}

    def _chosen(self, position: int, draw: int, epoch: int) -> list[int]:
        """Choose images of a case, in their order."""
        first, end = self.first[position : position + 2].tolist()
        if self.most is None or end - first <= self.most:
            return list(range(first, end))
        random = stream(self.seed, "images", epoch, int(self.images.cases[first]), draw)
        return [first + int(n) for n in np.sort(random.choice(end - first, self.most, replace=False))]


def mosaic(images_NCHW: NDArray[Any]) -> NDArray[Any]:
    """Put up to four images of a case into one of their size, (C, H, W); a single one stays as it is."""
    if len(images_NCHW) == 1:
        return images_NCHW[0]
    height, width = images_NCHW.shape[-2:]
    whole = np.zeros_like(images_NCHW[0])
    for n, image in enumerate(images_NCHW[:4]):
        half = image[:, : height // 2 * 2 : 2, : width // 2 * 2 : 2]
        y, x = n // 2 * (height // 2), n % 2 * (width // 2)
        whole[:, y : y + height // 2, x : x + width // 2] = half
    return whole
