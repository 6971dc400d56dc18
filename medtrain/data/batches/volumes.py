"""Volumes: what any source of volumes gives, from its rows to patches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import UsageError
from medtrain.data.base import Data
from medtrain.data.batches.middle_slice import middle_slice
from medtrain.data.batches.patch_form import CONTROLS, PatchForm, patch_form, spacing_of
from medtrain.data.batches.patches import Case, GridPatches, TrainingPatches
from medtrain.data.batches.pictures import numbers
from medtrain.data.batches.pieces import Pieces
from medtrain.data.batches.slices import Slices
from medtrain.data.batches.visits import Visits
from medtrain.data.batches.volume_files import as_warnings, read_cases
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.rows.inputs import list_inputs
from medtrain.data.rows.manifest import Manifest
from medtrain.data.settings import normalisation
from medtrain.io.dicom import is_multi_frame
from medtrain.io.dicom_files import dicom_files, is_dicom_file
from medtrain.io.store.voxels import VolumeForm
from medtrain.io.volume_source import WHAT, channels_of, is_named_dicom, is_volume_file
from medtrain.target import DataSpec


class VolumeData(Data):
    """Volumes in patches; see `Data` for arguments and attributes.

    A batch's ``x`` is (B, C, D, H, W) float32 in 0..1, D to the head, H to the front, W to the right. In training B is
    data.batch_size cases times data.patches_per_volume; in evaluation the patches of a case come one after the other.

    Attributes, known after `prepare`:
        form: how patches are cut.
        volumes: the volumes and masks of each row of the manifest, None where they cannot be used.
    """

    inspector = "volumes"
    controls = CONTROLS
    noun = "volumes"
    form: PatchForm
    volumes: Sequence[Case | None]

    def inputs(self, path: Path) -> Manifest:
        return list_inputs(path, self.cfg, find_volumes, WHAT, folders=True)

    def arrange(self, manifest: Manifest) -> Manifest:
        form = self.form = patch_form(self.cfg, self.fixed.spec)
        spacing_of(self.cfg, self.fixed.spec)
        if form.label == "mask" and form.center != "none":
            raise UsageError(
                f"data.patch_label=mask needs patches with and without findings: data.center=none, not {form.center}"
            )
        return manifest

    def describe(self, manifest: Manifest) -> DataSpec:
        target = manifest.target
        assert target is not None
        if self.form.label == "mask" and target.positive is None:
            raise UsageError(f"data.patch_label=mask needs labels of two classes; these are {target.kind}")
        channels = sum(channels_of(column) for column in (manifest.path, *manifest.beside))
        mean, std = normalisation(self.cfg, channels)
        return DataSpec(target, channels, self.form.size, spacing_of(self.cfg), mean, std)

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        labelled = manifest.target is not None
        wanted = everything or self.form.center == "mask" or (labelled and self.form.wants_mask)
        masks, images = manifest.masks if wanted else None, [manifest.path, *manifest.beside]
        form = VolumeForm(spacing_of(self.cfg, self.fixed.spec), window=self.form.window)
        files = read_cases(images, masks, form, self.cfg, self.progress, self.report)
        self.volumes, problems = files.cases, dict(files.problems)
        for n, case in enumerate(files.cases):
            if case is not None and (fault := self._unfit(case, labelled and manifest.targets[n] == 1)):
                problems[n] = fault
        warnings = as_warnings(files.notes, manifest.where)
        return Files(files.content, files.identities, problems, files.read, warnings)

    def _unfit(self, case: Case, positive: bool) -> str:
        """Tell why a case that can be read cannot be used, or ''."""
        if case.channels != self.spec.channels:
            return f"{case.channels} channels, where {self.spec.channels} are wanted"
        by_mask = self.form.center == "mask"
        if (by_mask or (self.form.label == "mask" and positive)) and (case.mask is None or not case.mask.marked):
            key = "data.center=mask" if by_mask else "a positive case with data.patch_label=mask"
            return f"{'no mask' if case.mask is None else 'an empty mask'}; {key} needs one (data.columns.mask)"
        return ""

    def label_texts(self) -> list[str]:
        cases = [self.volumes[slot] for slot in self.slots.tolist()]
        masks = ["" if case is None or case.mask is None else case.mask.identity for case in cases]
        return [f"{text} {mask}".strip() for text, mask in zip(super().label_texts(), masks, strict=True)]

    def dataset(self, rows: Rows) -> GridPatches:
        return GridPatches(self._cases(rows), np.asarray(rows, np.int64), self.y(rows), self.form)

    def training_set(self, rows: Rows) -> TrainingPatches:
        y = self.y(rows)
        assert y is not None
        return TrainingPatches(self._cases(rows), np.asarray(rows, np.int64), y, self.form, self.seed)

    def sampler(self, rows: Rows, batch_size: int) -> Sampler[Any]:
        return Visits(super().sampler(rows, batch_size))

    def pieces_of(self, manifest: Manifest) -> Pieces:
        return Slices(self.volumes, self.form, spacing_of(self.cfg, self.fixed.spec))

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        return np.stack([middle_slice(case, self.form) for case in self._cases(numbers(self.cases, cases))])

    def _cases(self, rows: Rows) -> list[Case]:
        cases = [self.volumes[slot] for slot in self.slots[rows].tolist()]
        return [case for case in cases if case is not None]


def find_volumes(folder: Path) -> list[Path]:
    """Find files of volumes and folders with DICOM files, from `folder` down, sorted; a multi-frame one by itself.

    What is called .dcm and is none has a row of its own, which says so. Hidden files and folders are left alone.
    """
    volumes = []
    for place, below, all_names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        names = [name for name in all_names if not name.startswith(".")]
        volumes += [Path(place) / name for name in names if is_volume_file(name)]
        if any(not is_volume_file(name) for name in names) and (files := dicom_files(place)):
            volumes += files if all(is_multi_frame(file) for file in files) else [Path(place)]
        named = [Path(place) / name for name in names if is_named_dicom(name)]
        volumes += [file for file in named if not is_dicom_file(file)]
    return sorted(volumes)
