"""Images to predict: a file, a folder or a table without labels; a bad file costs its own row, not the others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from medtrain.core.progress import Progress
from medtrain.core.truth import Truth
from medtrain.data.loading import LaterBatches, loader, ranks
from medtrain.data.settings import image_form
from medtrain.data.table.inputs import list_inputs
from medtrain.data.xray.dataset import Batch, CaseImages
from medtrain.io.cache_root import cache_root
from medtrain.io.image import SUFFIXES, ImageForm, is_picture
from medtrain.io.store.pixels import cache_images
from medtrain.sampler import EvalSampler
from medtrain.target import DataSpec


class InputImages(pl.LightningDataModule):
    """Unlabelled images as a trained model takes them; batches as `ImageData`'s, without ``y``.

    Args:
        cfg: the run's data node (fit, window, batch_size, patient_pattern, ...).
        spec: the model's.
        path: an image file, a folder (what `is_picture` says in it and below, sorted) or a CSV with a path column.

    Attributes:
        cases: a row an image: case, patient, path.
        errors: why an image cannot be read, by row number; those rows are in no batch.

    Raises:
        UsageError: the path is not there. DataError: it holds no images.
    """

    truth: Truth | None = None

    def __init__(self, cfg: Mapping[str, Any], spec: DataSpec, path: Path, progress: Progress | None = None) -> None:
        super().__init__()
        self.cfg, self.spec = dict(cfg), spec
        self.cases, _ = list_inputs(path, self.cfg, _pictures, f"images ({', '.join(SUFFIXES)})")
        cache = cache_images(self.cases["path"].tolist(), self.form, cache_root(cfg.get("cache_dir")), progress)
        self.cache, self.errors = cache, dict(cache.problems)
        self.readable = np.array([row for row in range(len(self.cases)) if row not in self.errors], np.int64)

    @property
    def form(self) -> ImageForm:
        """Working size and channels; like the next, what other tasks say in their own way."""
        return image_form(self.cfg, self.spec)

    def dataset(self) -> Any:
        """The readable images, whole batches."""
        return CaseImages(self.cache, self.readable, self.readable)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The readable rows in order; ranks get equally many, so some may come twice (tell by ``case``)."""
        dataset = self.dataset()
        sampler = EvalSampler(len(dataset), *ranks())
        batches = LaterBatches(sampler, int(self.cfg["batch_size"]), drop_last=False)
        return loader(dataset, batches, int(self.cfg.get("num_workers") or 0))


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if is_picture(file))
