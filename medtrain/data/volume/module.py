"""Labelled volumes from a table: what `data=volume_table` names, from the CSV to patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import UsageError
from medtrain.data.loading import as_labels
from medtrain.data.settings import normalisation
from medtrain.data.table.manifest import Manifest, read_manifest
from medtrain.data.table.module import Files, TableData
from medtrain.data.volume.dataset import Case, GridPatches, TrainingPatches, Visits
from medtrain.data.volume.files import read_cases, told
from medtrain.data.volume.inputs import InputVolumes
from medtrain.data.volume.picture import middle_slice
from medtrain.data.volume.settings import PatchForm, patch_form, spacing_of
from medtrain.io.volume_source import channels_of
from medtrain.target import DataSpec


class VolumeData(TableData):
    """Volumes of a table, split by patient, in patches; see `Data` for arguments and attributes.

    A batch's ``x`` is (B, C, D, H, W) float32 in 0..1, D to the head, H to the front, W to the right. In training B is
    data.batch_size cases times data.patches_per_volume; in evaluation the patches of a case come one after the other.
    """

    unlabelled = InputVolumes
    inspector = "volumes"
    noun = "volumes"
    always_masks = False  # also where patches don't need them

    @property
    def form(self) -> PatchForm:
        return patch_form(self.cfg, self.model_spec)

    def refuse_early(self) -> None:
        form = self.form
        spacing_of(self.cfg, self.model_spec)
        if form.label == "mask" and form.center != "none":
            raise UsageError(
                f"data.patch_label=mask needs patches with and without findings: data.center=none, not {form.center}"
            )

    def manifest(self) -> Manifest:
        return read_manifest(self.cfg, self.model_spec, folders=True)

    def describe(self, manifest: Manifest) -> DataSpec:
        form, images = self.form, self.images(manifest)
        target = manifest.target
        assert target is not None
        if form.label == "mask" and target.positive is None:
            raise UsageError(f"data.patch_label=mask needs labels of two classes; these are {target.kind}")
        channels = sum(channels_of(column) for column in images)
        mean, std = normalisation(self.cfg, channels)
        spacing = spacing_of(self.cfg)
        return DataSpec(target, channels, form.size, spacing, mean, std)

    def images(self, manifest: Manifest) -> list[list[str]]:
        """The paths of each image that a case has."""
        mask = self.mask_column(manifest)
        return [manifest.path, *(paths for name, paths in manifest.beside.items() if name != mask)]

    def mask_column(self, manifest: Manifest) -> str | None:
        """The column of masks, if there is one: the last of those beside the image."""
        more = self.cfg["columns"].get("path")
        images = 0 if more is None or isinstance(more, str) else len(more) - 1
        names = list(manifest.beside)
        return names[images] if len(names) > images else None

    def read(self, manifest: Manifest) -> Files:
        form, column = self.form, self.mask_column(manifest)
        wanted = column is not None and (form.wants_mask or self.always_masks)
        masks = manifest.beside[column] if column is not None and wanted else None
        spacing = spacing_of(self.cfg, self.model_spec)
        images = self.images(manifest)
        found = read_cases(images, masks, spacing, form.window, self.cfg, self.progress, self.report)
        self.files = found
        problems = dict(found.problems)
        for n, case in enumerate(found.cases):
            if case is not None and (fault := self._unfit(case, form, manifest.targets[n])):
                problems[n] = fault
        return Files(found.content, found.identities, problems, found.read, told(found.notes, manifest.where))

    def _unfit(self, case: Case, form: PatchForm, target: Any) -> str:
        """Why a case that can be read cannot be used, or ''."""
        if case.channels != self.spec.channels:
            return f"{case.channels} channels, where {self.spec.channels} are wanted"
        needs = form.center == "mask" or (form.label == "mask" and target == 1)
        if needs and (case.mask is None or not case.mask.marked):
            key = "data.center=mask" if form.center == "mask" else "a positive case with data.patch_label=mask"
            return f"{'no mask' if case.mask is None else 'an empty mask'}; {key} needs one"
        return ""

    def label_texts(self) -> list[str]:
        masks = ["" if case.mask is None else case.mask.identity for case in self._cases(np.arange(len(self.cases)))]
        return [f"{text} {mask}".strip() for text, mask in zip(super().label_texts(), masks, strict=True)]

    def dataset(self, rows: NDArray[np.int64]) -> GridPatches:
        assert self.targets is not None
        y = as_labels(self.spec.target, self.targets[rows])
        return GridPatches(self._cases(rows), np.asarray(rows, np.int64), y, self.form)

    def training_set(self, rows: NDArray[np.int64]) -> TrainingPatches:
        assert self.targets is not None
        y = as_labels(self.spec.target, self.targets[rows])
        return TrainingPatches(self._cases(rows), np.asarray(rows, np.int64), y, self.form, self.seed)

    def sampler(self, rows: NDArray[np.int64], batch_size: int) -> Sampler[Any]:
        return Visits(super().sampler(rows, batch_size))

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        number = pd.Series(np.arange(len(self.cases)), index=self.cases["case"])
        rows = number[list(cases)].to_numpy()
        return np.stack([middle_slice(case, self.form) for case in self._cases(rows)])

    def _cases(self, rows: NDArray[np.int64]) -> list[Case]:
        return self.files.usable(self.slots[rows].tolist())
