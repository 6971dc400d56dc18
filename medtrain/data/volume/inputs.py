"""Volumes to predict: a file, a series, a folder of them or a table; a bad one costs its own row, not the others'."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from medtrain.core.progress import Progress, to_stderr
from medtrain.core.truth import Truth
from medtrain.data.loading import LaterBatches, loader, ranks
from medtrain.data.table.inputs import list_inputs
from medtrain.data.volume.dataset import Batch, GridPatches
from medtrain.data.volume.files import read_cases, told
from medtrain.data.volume.settings import patch_form, spacing_of
from medtrain.io.dicom import dicom_files, is_multi_frame
from medtrain.io.volume_source import WHAT, is_volume_file
from medtrain.sampler import EvalSampler
from medtrain.target import DataSpec


class InputVolumes(pl.LightningDataModule):
    """Unlabelled volumes as a trained model takes them; batches as `VolumeData`'s in evaluation, without ``y``.

    Args:
        cfg: the run's data node (window, center, batch_size, patient_pattern, ...).
        spec: the model's.
        path: a NIfTI file, a folder with one DICOM series, a folder of such files and folders, or a CSV with an image
            column (and a mask column, if data.center=mask).

    Attributes:
        cases: a row a volume: case, patient, path.
        errors: why a volume cannot be read, by row number; those rows are in no batch.
        readable: the other row numbers.
        dataset: the patches of the readable rows, which knows where each lies.

    Raises:
        UsageError: the path is not there. DataError: it holds no volumes.
    """

    truth: Truth | None = None

    def __init__(self, cfg: Mapping[str, Any], spec: DataSpec, path: Path, progress: Progress | None = None) -> None:
        super().__init__()
        self.cfg, self.spec = dict(cfg), spec
        form = patch_form(cfg, spec)
        self.cases, beside = list_inputs(path, cfg, find_volumes, WHAT, folders=True)
        columns = list(beside.values())
        images = cfg["columns"].get("path")
        more = 0 if images is None or isinstance(images, str) else len(images) - 1
        masks = columns[more] if form.center == "mask" and len(columns) > more else None
        paths = [self.cases["path"].tolist(), *columns[:more]]
        self.files = read_cases(paths, masks, spacing_of(cfg, spec), form.window, cfg, progress)
        for problem in told(self.files.notes, self.cases["case"].tolist()):
            to_stderr(str(problem))
        self.errors = dict(self.files.problems)
        for row, case in enumerate(self.files.cases):
            if case is not None and case.channels != spec.channels:
                self.errors[row] = f"{case.channels} channels, where the model takes {spec.channels}"
            elif case is not None and form.center == "mask" and (case.mask is None or not case.mask.marked):
                self.errors[row] = (
                    "no mask, or an empty one: data.center=mask needs one, named in a table's mask column"
                )
        self.readable = np.array([row for row in range(len(self.cases)) if row not in self.errors], np.int64)
        self.dataset = GridPatches(self.files.usable(self.readable.tolist()), self.readable, None, form)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The patches of the readable rows in order; ranks get equally many, so some may come twice."""
        sampler = EvalSampler(len(self.dataset), *ranks())
        batches = LaterBatches(sampler, int(self.cfg["batch_size"]), drop_last=False)
        return loader(self.dataset, batches, int(self.cfg.get("num_workers") or 0))


def find_volumes(folder: Path) -> list[Path]:
    """Files of volumes and folders with DICOM files, from `folder` down, sorted; a multi-frame one by itself."""
    found = []
    for place, _, names in os.walk(folder):
        found += [Path(place) / name for name in names if is_volume_file(name)]
        if any(not is_volume_file(name) for name in names) and (files := dicom_files(place)):
            found += files if all(is_multi_frame(file) for file in files) else [Path(place)]
    return sorted(found)
