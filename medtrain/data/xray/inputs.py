"""Images to predict: a file, a folder or a table without labels; a bad file costs its own row, not the others'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from medtrain.core.errors import DataError, UsageError
from medtrain.core.spec import DataSpec
from medtrain.data.loading import LaterBatches, loader, ranks
from medtrain.data.settings import image_form
from medtrain.data.table.header_patients import header_patients
from medtrain.data.table.manifest import match_patient, read_inputs
from medtrain.data.xray.dataset import Batch, CaseImages
from medtrain.io.cache_root import cache_root
from medtrain.io.image import SUFFIXES, is_picture
from medtrain.io.image_cache import Progress, cache_images
from medtrain.sampler import EvalSampler

TABLES = (".csv", ".tsv", ".txt")


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

    def __init__(self, cfg: Mapping[str, Any], spec: DataSpec, path: Path, progress: Progress | None = None) -> None:
        super().__init__()
        self.cfg, self.spec = dict(cfg), spec
        self.cases = _list_inputs(path, self.cfg)
        cache = cache_images(
            self.cases["path"].tolist(), image_form(cfg, spec), cache_root(cfg.get("cache_dir")), progress
        )
        self.cache, self.errors = cache, dict(cache.problems)
        self.readable = np.array([row for row in range(len(self.cases)) if row not in self.errors], np.int64)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The readable rows in order; ranks get equally many, so some may come twice (tell by ``case``)."""
        dataset = CaseImages(self.cache, self.readable, self.readable)
        sampler = EvalSampler(len(dataset), *ranks())
        batches = LaterBatches(sampler, int(self.cfg["batch_size"]), drop_last=False)
        return loader(dataset, batches, int(self.cfg.get("num_workers") or 0))


def _list_inputs(path: Path, cfg: Mapping[str, Any]) -> pd.DataFrame:
    if not path.exists():
        raise UsageError(f"input={path}: no such file or folder")
    if path.is_file() and path.suffix.lower() in TABLES:
        table = read_inputs(path, cfg)
        return pd.DataFrame({"case": table.case, "patient": table.patient, "path": table.path})
    if path.is_file():
        files, names = [path], [path.name]
    else:
        files = sorted(file for file in path.rglob("*") if is_picture(file))
        names = [file.relative_to(path).as_posix() for file in files]
    if not files:
        raise DataError(f"input={path} holds no images ({', '.join(SUFFIXES)})")
    pattern = cfg.get("patient_pattern")
    if pattern:
        found = [match_patient(str(pattern), name) for name in names]
    else:
        found = header_patients(files, cache_root(cfg.get("cache_dir")))
    patients = [patient or name for patient, name in zip(found, names, strict=True)]
    return pd.DataFrame({"case": names, "patient": patients, "path": [str(file.absolute()) for file in files]})
