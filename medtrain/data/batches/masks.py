"""Volumes whose labels are masks: planned from the training cases, in patches to learn from, whole to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import DataError, Problem
from medtrain.data.batches.mask_cases import MaskCase, TrainingMasks, WholeCases, labels_in_batches
from medtrain.data.batches.mask_facts import MaskFacts, has_spacing, mask_facts, moments, own_scale
from medtrain.data.batches.mask_fingerprint import fingerprint_of
from medtrain.data.batches.mask_plan import Plan, plan
from medtrain.data.batches.mask_told import absent, coarser, other_masks, refuse_all_empty, refuse_unused, summed
from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patches import Case
from medtrain.data.batches.visits import Visits
from medtrain.data.batches.volume_files import CaseFiles, as_warnings, read_cases
from medtrain.data.batches.volumes import VolumeData
from medtrain.data.files import Files
from medtrain.data.loaders import Rows
from medtrain.data.loading import LaterBatches
from medtrain.data.rows.channels import channels_together, lacking
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.masks import target_of_masks
from medtrain.io.store.voxels import VolumeForm
from medtrain.io.volume import Triple
from medtrain.io.volume_source import channels_of
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

SHOWN = (128, 128, 128)  # voxels of what a report shows of a case


class MaskData(VolumeData):
    """Volumes with masks; see `Data` for arguments and attributes.

    In training a batch has ``x`` (B, C, D, H, W) float32, standardised, ``mask`` (B, D, H, W) int64, labels 0..N and -1
    where nobody knows or the volume has ended, ``case`` and ``draw``; B is data.batch_size. Else a batch is one whole
    case by its number, whose voxels `seen` has.

    Attributes, known after `prepare`:
        own: the cases in their files' own voxels, by row of the manifest; None where they cannot be used.
        volumes: the same at the working spacing.
        working: by spacing and row of the manifest, what networks see; of an ensemble at the spacing of each member.
        plan: what was planned, in training.
        targets: float (N, C), 1 where a case shows a class.
    """

    inspector = "masks"
    own: Sequence[Case | None]
    facts: dict[int, MaskFacts]
    plan: Plan | None = None
    working: dict[Triple, dict[int, MaskCase]]
    _read: CaseFiles | None = None
    _paths: tuple[list[list[str]], list[str] | None]

    def inputs(self, path: Path) -> Manifest:
        manifest = super().inputs(path)
        return channels_together(manifest, self.fixed.spec.channels) if self.fixed.spec and path.is_dir() else manifest

    def arrange(self, manifest: Manifest) -> Manifest:
        refuse_unused(self.cfg, self.synthetic)
        if manifest.modality and not self.cfg.get("modality"):
            self.cfg = {**self.cfg, "modality": manifest.modality}
        if self.input is None and manifest.target is None:
            cases = self._own(manifest).cases
            numbers = [mask_facts([case.mask])[0].label_L.tolist() for case in cases if case and case.mask]
            manifest.target = target_of_masks(self.cfg, {label for own in numbers for label in own})
        return manifest

    def describe(self, manifest: Manifest) -> DataSpec:
        """Describe the cases; size, spacing and intensities are planned once they are read and split."""
        assert manifest.target is not None
        channels = sum(channels_of(column) for column in (manifest.path, *manifest.beside))
        return DataSpec(manifest.target, channels, (1, 1, 1))

    def read(self, manifest: Manifest, everything: bool = False) -> Files:
        files = self._own(manifest)
        self.own, self.facts, apart = list(files.cases), {}, lacking(manifest)
        problems = {n: fault for n, fault in files.problems.items() if n not in apart}
        self.volumes, self.form = self.own, PatchForm(SHOWN, SHOWN)  # as inspection looks at them, before a plan
        marked = [n for n, case in enumerate(files.cases) if case is not None and case.mask is not None]
        masks = [case.mask for n in marked if (case := files.cases[n]) is not None and case.mask is not None]
        self.facts = dict(zip(marked, mask_facts(masks), strict=True))
        labelled = self.input is None
        for n, case in enumerate(files.cases):
            if case is not None and (fault := self._unfit(case, labelled) or self._out_of_range(n, labelled)):
                problems[n] = fault
        if labelled:
            manifest.targets = self._shown(len(manifest))
        warnings = as_warnings(files.notes, manifest.where)
        warnings += other_masks(files.cases, files.content, manifest.targets, manifest.where) if labelled else []
        return Files(files.content, files.identities, problems, files.read, warnings)

    def _own(self, manifest: Manifest) -> CaseFiles:
        """Read the files, once, in their own voxels."""
        if self._read is None:
            masks = manifest.masks if self.input is None else None
            images, masks = self._paths = [manifest.path, *manifest.beside], masks
            self._read = read_cases(images, masks, VolumeForm(), self.cfg, self.progress, self.report)
        return self._read

    def _unfit(self, case: Case, positive: bool) -> str:
        if case.channels != self.spec.channels:
            return f"{case.channels} channels, where {self.spec.channels} are wanted"
        return "no mask, which is its label (data.columns.mask)" if positive and case.mask is None else ""

    def _out_of_range(self, n: int, labelled: bool) -> str:
        """Tell which numbers of a mask are no labels, or ''."""
        if not labelled or n not in self.facts:
            return ""
        facts, target = self.facts[n], self.target
        label_of = labels_in_batches(target)
        odd = [
            (label, count)
            for label, count in zip(facts.label_L.tolist(), facts.count_L.tolist(), strict=True)
            if label != target.ignore_label and (label >= len(label_of) or label_of[label] < 0)
        ]
        if not odd:
            return ""
        named = ", ".join(f"{label} ({count:,} voxels)" for label, count in odd[:5])
        codes = target.file_codes
        known = ", ".join(map(str, codes[:10])) + ", ..." * (len(codes) > 10)
        return (
            f"its mask holds {named}, which is no label: labels are 0 and {known} (data.classes or data.label_map "
            "names others, data.ignore_label one that says nothing)"
        )

    def _shown(self, number: int) -> NDArray[np.float64]:
        """Tell which classes cases show, (N, C)."""
        target, label_of = self.target, labels_in_batches(self.target)
        shown = np.zeros((number, len(target.parts)))
        for n, facts in self.facts.items():
            own = {int(label_of[label]) for label in facts.label_L.tolist() if label < len(label_of)}
            shown[n] = [bool(own & set(region)) for region in target.parts]
        return shown

    @property
    def target(self) -> MaskTarget:
        """Give what is predicted."""
        assert isinstance(self.spec.target, MaskTarget)
        return self.spec.target

    def settle(self) -> None:
        """Plan from the training cases, or take the plan of a trained model; read what has another spacing anew."""
        if self.fixed.spec is None:
            rows = self.rows("train")
            slots = [slot for slot in self.slots[rows].tolist() if self.own[slot] is not None]
            targets = self.targets
            assert targets is not None
            refuse_all_empty(targets[rows], self.spec.classes)
            cases, facts = [self._case(slot) for slot in slots], [self.facts[slot] for slot in slots]
            fingerprint = fingerprint_of(cases, facts, labels_in_batches(self.target))
            self.plan, spacing_N3 = plan(fingerprint, self.cfg), fingerprint.spacing_N3
            p = self.plan
            self.planned = p.text()
            self.spec = replace(
                self.spec,
                size=p.patch_size,
                spacing=p.spacing,
                strides=p.strides,
                intensity=p.intensity,
                directed=p.directed,
            )
            planned = {"batch_size": p.batch_size, "patches_per_volume": p.visits}
            self.cfg = {**self.cfg, **planned, "foreground_share": p.foreground_share}
            shown = {split: targets[self.rows(split)] for split in ("train", "val", "test")}
            names = {split: self.cases["case"].iloc[self.rows(split)] for split in shown}
            self._tell(
                [*coarser(spacing_N3, p.spacing), *summed(self.target), *absent(shown, names, self.spec.classes)]
            )
        spacings = self.spec.spacings or (self.spec.spacing or (1.0, 1.0, 1.0),)
        self._work_at([(z, y, x) for z, y, x in spacings])

    def _tell(self, warnings: Sequence[Problem]) -> None:
        self.problems += warnings
        for warning in warnings:
            self.report(str(warning))

    def _work_at(self, spacings: Sequence[Triple]) -> None:
        """Bring the cases that are used to the working spacings: from the store, or read again."""
        wanted = [slot for slot in np.unique(self.slots).tolist() if self.own[slot] is not None]
        self.working = {spacing: self._scaled(self._at(spacing, wanted)) for spacing in reversed(spacings)}
        self.form = PatchForm(SHOWN, SHOWN, window=self._window())
        self.truth: Any = self  # the cases themselves, which are too large to be boiled down before they are judged

    def _at(self, spacing: Triple, slots: Sequence[int]) -> dict[int, Case]:
        """Give the cases of these rows of the manifest at a spacing; those that can't be brought there are refused."""
        self.volumes = list(self.own)
        if other := [slot for slot in slots if not has_spacing(self._case(slot).images[0], spacing)]:
            again = self._again(other, VolumeForm(spacing))
            for position, slot in enumerate(other):
                self.volumes[slot] = again.cases[position]
            self._refuse({other[position]: text for position, text in again.problems.items()}, spacing)
        return {slot: case for slot in slots if (case := self.volumes[slot]) is not None}

    def _again(self, slots: Sequence[int], form: VolumeForm) -> CaseFiles:
        """Read the files of these rows of the manifest in another form."""
        images, masks = self._paths
        own = [[column[slot] for slot in slots] for column in images]
        return read_cases(
            own, None if masks is None else [masks[slot] for slot in slots], form, self.cfg, self.progress, self.report
        )

    def _refuse(self, problems: dict[int, str], spacing: Triple) -> None:
        """Refuse cases that can't be resampled; of cases without labels, only these."""
        row_of = {slot: row for row, slot in enumerate(self.slots.tolist())}
        if self.input is not None:
            self.errors |= {row_of[slot]: text for slot, text in problems.items()}
            self.readable = np.array([row for row in self.readable.tolist() if row not in self.errors], np.int64)
        elif problems:
            names = self.cases["case"]
            listed = [Problem("unreadable", str(names.iloc[row_of[n]]), text) for n, text in problems.items()]
            raise DataError(f"{len(listed)} cases cannot be brought to {list(spacing)} mm (data.spacing):", listed)

    def _window(self) -> tuple[float, float] | None:
        return self.spec.intensity[0][:2] if self.spec.intensity else None

    def _scaled(self, case_of: dict[int, Case]) -> dict[int, MaskCase]:
        """Put voxels, scales and facts of the cases together."""
        cases = list(case_of.values())
        if self.spec.intensity:
            scales = [np.array(self.spec.intensity)] * len(cases)
        else:
            images = [image for case in cases for image in case.images]
            measured = iter(moments(images))
            scales = [own_scale(np.concatenate([next(measured) for _ in case.images])) for case in cases]
        masks = [case.mask for case in cases if case.mask is not None]
        facts = iter(mask_facts(masks))
        return {
            slot: MaskCase(case, scale, next(facts) if case.mask is not None else None)
            for (slot, case), scale in zip(case_of.items(), scales, strict=True)
        }

    def _of(self, rows: Rows) -> list[MaskCase]:
        return [self._seen(row, self.spec) for row in np.asarray(rows).tolist()]

    def _seen(self, row: int, spec: DataSpec) -> MaskCase:
        z, y, x = spec.spacing or (1.0, 1.0, 1.0)
        return self.working[z, y, x][int(self.slots[row])]

    def seen(self, row: int, spec: DataSpec) -> MaskCase:
        """Give a row of `cases` as a network of this spec sees it: at its spacing, on its scale."""
        case = self._seen(row, spec)
        return replace(case, scale_C4=np.array(spec.intensity)) if spec.intensity else case

    def seen_truth(self, row: int) -> NDArray[np.int32] | None:
        """Give the labels of a row of `cases` at the working spacing, (D, H, W); None where they are not known."""
        case = self._seen(row, self.spec)
        if self.targets is None or case.case.mask is None:
            return None
        label_DHW = np.empty(case.case.shape, np.int32)
        case.mask((0, 0, 0), case.case.shape, self._label_of, label_DHW)
        return label_DHW

    def dataset(self, rows: Rows) -> WholeCases:  # type: ignore[override]  # cases, where volumes have patches
        return WholeCases(np.asarray(rows, np.int64))

    def training_set(self, rows: Rows) -> TrainingMasks:  # type: ignore[override]
        z, y, x = self.spec.size
        share, label_of = float(self.cfg["foreground_share"]), labels_in_batches(self.target)
        return TrainingMasks(self._of(rows), np.asarray(rows, np.int64), (z, y, x), share, label_of, self.seed)

    def sampler(self, rows: Rows, batch_size: int) -> Sampler[Any]:
        rank_sampler = super(VolumeData, self).sampler(rows, batch_size)
        return Visits(rank_sampler, int(self.cfg["patches_per_volume"]))

    def batches(self, rows: Rows, sampler: Sampler[Any], training: bool = False) -> LaterBatches:
        """Put patches together to batches; whole cases stay alone."""
        return LaterBatches(sampler, int(self.cfg["batch_size"]) if training else 1, drop_last=False)

    def own_case(self, row: int) -> Case:
        """Give a row of `cases` in its files' own voxels."""
        return self._case(int(self.slots[row]))

    def image_file(self, row: int) -> str:
        """Name the file, or folder of a series, of the first channel of a row of `cases`."""
        return self._paths[0][0][int(self.slots[row])]

    def own_truth(self, row: int) -> NDArray[np.int32] | None:
        """Give the labels of a row of `cases`, (D, H, W) in its file's own voxels; None where they are not known."""
        mask = self.own_case(row).mask
        if self.targets is None or mask is None:
            return None
        return np.take(self._label_of, mask.mapped()[0], mode="clip")

    @property
    def _label_of(self) -> NDArray[np.int32]:
        """Give the label of each number that files have, in half of what batches take."""
        return labels_in_batches(self.target).astype(np.int32)

    def _case(self, slot: int) -> Case:
        case = self.own[slot]
        assert case is not None
        return case
