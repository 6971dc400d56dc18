"""Labelled images from a table: what `data=image_table` names, from the CSV to batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.progress import Progress
from medtrain.data.loading import as_labels
from medtrain.data.settings import image_form, normalisation
from medtrain.data.table.manifest import Manifest
from medtrain.data.table.module import Files, TableData
from medtrain.data.xray.dataset import CaseImages, Pictures
from medtrain.data.xray.inputs import InputImages
from medtrain.io.cache_root import cache_root
from medtrain.io.image import ImageForm
from medtrain.io.image_header import Header, read_headers
from medtrain.io.store.pixels import cache_images
from medtrain.target import DataSpec


class ImageData(TableData):
    """Images of a table, split by patient, from a memory map; see `Data` for arguments and attributes.

    A batch's ``x`` is (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit.
    """

    unlabelled = InputImages
    inspector = "images"

    @property
    def form(self) -> ImageForm:
        """Working size and channels; like the next methods, what another source of images says in its own way."""
        return image_form(self.cfg, self.model_spec)

    def pictures(self, manifest: Manifest) -> Pictures:
        """The pixels, by position in the manifest."""
        root = cache_root(self.cfg.get("cache_dir"))
        return cache_images(manifest.path, self.form, root, self.progress, report=self.report, states=manifest.states)

    def headers(
        self, manifest: Manifest, rows: NDArray[np.int64], progress: Progress | None = None
    ) -> list[Header | None]:
        """What the files of these rows say of their pictures."""
        return read_headers([manifest.path[row] for row in rows], progress)

    def refuse_early(self) -> None:
        normalisation(self.cfg, self.form.channels)

    def describe(self, manifest: Manifest) -> DataSpec:
        form = self.form
        mean, std = normalisation(self.cfg, form.channels)
        assert manifest.target is not None
        return DataSpec(manifest.target, form.channels, form.size, mean=mean, std=std)

    def read(self, manifest: Manifest) -> Files:
        self.cache = self.pictures(manifest)
        cache = self.cache
        return Files(cache.content, cache.identities, cache.problems, cache.decoded)

    def dataset(self, rows: NDArray[np.int64]) -> CaseImages:
        assert self.targets is not None
        cases = np.asarray(rows, np.int64)
        return CaseImages(self.cache, self.slots[rows], cases, as_labels(self.spec.target, self.targets[rows]))

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        number = pd.Series(self.slots, index=self.cases["case"])
        return self.cache[number[list(cases)].to_numpy()]
