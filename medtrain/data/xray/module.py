"""Labelled images from a table: what `data=image_table` names, from the CSV to batches.

All that can be wrong with the data is found here, before training, and listed at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Sampler

from medtrain.core.errors import DataError, Problem
from medtrain.core.spec import DataSpec
from medtrain.data.fingerprint import digest, row_texts
from medtrain.data.settings import choice, image_form, normalisation
from medtrain.data.splitting import drop_leaked, excluded, known_splits, split_manifest
from medtrain.data.xray.dataset import Batch, CaseImages, Pictures, loader, ranks
from medtrain.data.xray.groups import group_columns
from medtrain.data.xray.inputs import InputImages
from medtrain.data.xray.table import Manifest, read_manifest
from medtrain.io.cache_root import cache_root
from medtrain.io.image import ImageForm
from medtrain.io.image_cache import Progress, cache_images
from medtrain.io.image_header import Header, read_headers
from medtrain.sampler import EvalSampler, Shuffle

if TYPE_CHECKING:
    from medtrain.data.inspection import Inspection

Split = tuple[NDArray[np.int64], pd.DataFrame, list[Problem]]


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


class ImageData(pl.LightningDataModule):
    """Images of a table, split by patient, from a memory map.

    A batch is a dict: ``x`` (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit; ``y``
    float32 (B, K) for binary (K=1) and multilabel (NaN unknown), int64 (B,) for multiclass; ``case`` int64 (B,),
    the row number in `cases`; ``draw`` int64 (B,), where a sampler repeats images: which time in the epoch it is.

    Args:
        cfg: the data node of the configuration.
        build_sampler: called with labels, groups (patients), batch_size, seed, rank and world; gives positions, or
            pairs (position, draw).
        seed: of the run, for the sampler.
        report: takes warnings, a line or more each.
        progress: takes (done, total) while files are decoded.
        spec: of a trained model, whose classes, channels, size and normalisation hold then.
        all_test: rows without an official split are all tested (external data).
        splits: case and split as a run has written them; nothing is split anew then.
        groups: columns of the table by which results are broken down.

    Attributes:
        spec: DataSpec.
        cases: a row an image: case, patient, split, fold, path.
        targets: binary float [N] 0/1, multiclass int [N], multilabel float [N, C] with NaN unknown.
        held_out: with data.split_by=site the site that tests, its fold and the number of sites; else None.
        groups: those columns as written, a row a case.
        fingerprints: SHA-256 of the cases, labels and patients (``table``) and of cases and splits
            (``split``); of cases and folds (``folds``) too where there are folds, equal for all runs of one
            cross-validation.
        problems: what was skipped or warned of.
        excluded: {reason: images} of what the data list and the run doesn't use.
        decoded: how many files were decoded now.

    Raises (from `prepare`):
        UsageError: the configuration doesn't fit the data. DataError: with all that is wrong in the data.
    """

    synthetic = False
    held_out: dict[str, Any] | None = None
    spec: DataSpec
    cases: pd.DataFrame
    groups: pd.DataFrame
    targets: NDArray[Any]

    def __init__(
        self,
        cfg: Mapping[str, Any],
        *,
        build_sampler: Callable[..., Sampler[Any]] | None = None,
        seed: int = 0,
        report: Callable[[str], None] = to_stderr,
        progress: Progress | None = None,
        spec: DataSpec | None = None,
        all_test: bool = False,
        splits: pd.DataFrame | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.cfg, self.build_sampler, self.seed = dict(cfg), build_sampler or Shuffle, seed
        self.report, self.progress = report, progress
        self.all_test, self.known, self.group_by = all_test, splits, groups
        self.model_spec = spec
        self.problems: list[Problem] = []
        self.fingerprints: dict[str, str] = {}
        self.excluded: dict[str, int] = {}
        self.decoded = 0
        self._parts: dict[str, str] = {}
        self._ready = False

    @classmethod
    def for_inputs(
        cls,
        cfg: Mapping[str, Any],
        spec: DataSpec,
        input_path: str | Path,
        progress: Progress | None = None,
    ) -> InputImages:
        """Images without labels (a file, a folder, a table) as a trained model takes them; see `InputImages`."""
        return InputImages(cfg, spec, Path(input_path), progress)

    def setup(self, stage: str | None = None) -> None:
        self.prepare()

    def prepare(self) -> None:
        """Manifest, splits, leakage, decoding: once; the complete list of problems is raised at the end."""
        if self._ready:
            return
        skip = choice(self.cfg, "on_bad", ("error", "skip")) == "skip"
        form, manifest = self.listed()
        groups = group_columns(manifest, self.group_by)
        apart = np.arange(len(manifest))
        rows, splits, leaks = self._split(manifest, manifest.bad, skip, apart)
        self.cache = self.pictures(manifest, form)
        self.decoded = self.cache.decoded
        bad = manifest.bad + self.unreadable(manifest, self.cache.problems)
        if len(bad) > len(manifest.bad) or (self.cache.content != apart).any():
            rows, splits, leaks = self._split(manifest, bad, skip, self.cache.content)
        self._judge(bad, leaks, len(manifest), skip)
        for warning in manifest.warnings:
            self._warn([warning], "")
        self._keep(manifest, rows, splits)
        self.groups = groups.iloc[rows].reset_index(drop=True)
        self.excluded = excluded(manifest, bad, len(rows), "leaking" if self.known is None else "unlisted")
        self._ready = True

    def inspect(self, **asked: Any) -> Inspection:
        """All that is wrong, without stopping at it; `asked` as `inspect_images` takes it."""
        from medtrain.data.xray.inspect import inspect_images  # its libraries are of no use to a training

        return inspect_images(self, **asked)

    def listed(self) -> tuple[ImageForm, Manifest]:
        """The form and the labelled images; `spec` is known from here on."""
        form = self.form()
        mean, std = normalisation(self.cfg, form.channels)  # faults of the configuration come before any decoding
        manifest = self.manifest(form)
        self.spec = self.model_spec or DataSpec(
            manifest.kind or "binary", manifest.classes, form.channels, form.size, mean=mean, std=std
        )
        return form, manifest

    def form(self) -> ImageForm:
        """Working size and channels; like the next three, what another source of images says in its own way."""
        return image_form(self.cfg, self.model_spec)

    def manifest(self, form: ImageForm) -> Manifest:
        """The labelled images."""
        return read_manifest(self.cfg, self.model_spec)

    def pictures(self, manifest: Manifest, form: ImageForm) -> Pictures:
        """Their pixels, by position in the manifest."""
        root = cache_root(self.cfg.get("cache_dir"))
        return cache_images(manifest.path, form, root, self.progress, report=self.report, states=manifest.states)

    def headers(
        self, manifest: Manifest, rows: NDArray[np.int64], progress: Progress | None = None
    ) -> list[Header | None]:
        """What the files of these rows say of their pictures."""
        return read_headers([manifest.path[row] for row in rows], progress)

    @staticmethod
    def unreadable(manifest: Manifest, problems: Mapping[int, str]) -> list[tuple[int, Problem]]:
        """The problems of `Pictures`, but for what the manifest says already."""
        listed = {n for n, problem in manifest.bad if problem.kind == "missing"}
        return [
            (n, Problem("unreadable", f"{manifest.where[n]} ({manifest.case[n]})", reason))
            for n, reason in sorted(problems.items())
            if n not in listed
        ]

    def _split(
        self, manifest: Manifest, bad: list[tuple[int, Problem]], skip: bool, content_N: NDArray[np.int64]
    ) -> Split:
        """Usable rows with their split and fold, and leaks between splits; files of one content have one number."""
        usable = np.ones(len(manifest), bool)
        usable[[n for n, _ in bad]] = False
        rows = np.flatnonzero(usable)
        nothing: Split = rows[:0], pd.DataFrame({"split": [], "fold": []}), []
        if not len(rows):
            return nothing  # all rows are at fault, and listed
        content = content_N[rows]
        try:
            if self.known is not None:
                lenient = skip or self.cfg.get("leakage") == "drop"
                rows, content, splits = known_splits(manifest, rows, content, self.known, lenient)
            else:
                splits = split_manifest(manifest, rows, content, self.cfg, self.spec, self.all_test)
        except DataError:
            if bad and not skip:
                return nothing  # the rows at fault are listed first
            raise
        policy = choice(self.cfg, "leakage", ("error", "warn", "drop"))
        leaky, leaks = drop_leaked(manifest, rows, content, splits, policy)
        self._parts = {}
        if splits["fold"].notna().any():  # before anything is dropped, which differs from fold to fold
            self._parts = {"folds": digest([manifest.case[row] for row in rows], splits["fold"].astype(str).tolist())}
        return rows[~leaky], splits[~leaky], leaks

    def _judge(self, bad: list[tuple[int, Problem]], leaks: list[Problem], total: int, skip: bool) -> None:
        errors = [] if skip else [problem for _, problem in bad]
        errors += [leak for leak in leaks if leak.severity == "error"]
        if errors:
            counts = pd.Series([problem.kind for problem in errors]).value_counts()
            summary = f"{len(errors)} problems in the data ({', '.join(f'{n} {kind}' for kind, n in counts.items())}):"
            advice = "correct them, or leave bad rows out with data.on_bad=skip" if not skip and bad else ""
            if any(leak.severity == "error" for leak in leaks):
                advice += ("\n" if advice else "") + "data.leakage=drop takes leaked rows out of train and val"
            raise DataError(summary, errors, advice)
        if bad:
            skipped = len({row for row, _ in bad})
            if skipped == total:
                raise DataError(f"none of the {total} rows can be used:", [problem for _, problem in bad])
            self._warn([problem for _, problem in bad], f"left out {skipped} of {total} rows (data.on_bad=skip):")
        if leaks:
            self._warn(leaks, f"{len(leaks)} leaks between splits (data.leakage={self.cfg.get('leakage')}):")

    def _warn(self, problems: Sequence[Problem], heading: str) -> None:
        self.problems += [Problem(p.kind, p.where, p.detail, "warning") for p in problems]
        self.report(str(DataError(heading, problems)).strip())

    def _keep(self, manifest: Manifest, rows: NDArray[np.int64], splits: pd.DataFrame) -> None:
        self._slots = rows
        self.targets = manifest.targets[rows]
        self._raw = manifest.raw
        case, patient, path = (
            [column[row] for row in rows.tolist()] for column in (manifest.case, manifest.patient, manifest.path)
        )
        split, fold = splits["split"].to_numpy(), splits["fold"].astype("Int64").array
        self.cases = pd.DataFrame({"case": case, "patient": patient, "split": split, "fold": fold, "path": path})
        if manifest.site is not None and self.cfg.get("split_by") == "site" and not self.all_test:
            sites = dict(zip((manifest.site[row] for row in rows), fold, strict=True))
            site = manifest.site[rows[np.flatnonzero(split == "test")[0]]]
            self.held_out = {"site": site, "fold": int(sites[site]), "sites": len(sites)}
        self.fingerprints = {
            "table": digest(case, patient, row_texts(self.targets)),
            "split": digest(case, split.tolist()),
        } | self._parts

    @property
    def table(self) -> pd.DataFrame:
        """The user's own columns, a row a case, indexed by the row numbers of the file."""
        return self._raw.typed.iloc[self._slots]

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers in `cases` of one split."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def dataset(self, rows: NDArray[np.int64], labelled: bool = True) -> CaseImages:
        """The images of these rows of `cases`, in their order."""
        targets = self.targets[rows] if labelled else None
        return CaseImages(self.cache, self._slots[rows], np.asarray(rows, np.int64), targets, self.spec.label_kind)

    def pixels(self, cases: Sequence[str]) -> NDArray[Any]:
        """(B, C, H, W), uint8 or uint16, of cases by their names, for pictures in a report."""
        number = pd.Series(self._slots, index=self.cases["case"])
        return self.cache[number[list(cases)].to_numpy()]

    def train_dataloader(self) -> DataLoader[Batch]:
        self.prepare()
        rows, batch_size = self.rows("train"), int(self.cfg["batch_size"])
        rank, world = ranks()
        patients = self.cases["patient"].to_numpy()[rows]
        sampler = self.build_sampler(
            labels=self.targets[rows], groups=patients, batch_size=batch_size, seed=self.seed, rank=rank, world=world
        )
        count = len(sampler)  # type: ignore[arg-type]
        lonely = count > batch_size and count % batch_size == 1  # batch norm cannot learn from one image
        return loader(self.dataset(rows), sampler, batch_size, self._workers, drop_last=lonely)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[Batch]:
        """The images of a split in their order; ranks get equally many, so some may come twice (tell by ``case``)."""
        self.prepare()
        rows = self.rows(split)
        return loader(self.dataset(rows), EvalSampler(len(rows), *ranks()), int(self.cfg["batch_size"]), self._workers)

    @property
    def _workers(self) -> int:
        return int(self.cfg.get("num_workers") or 0)
