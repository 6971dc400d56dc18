"""Data: rows of a source, content of a store, and batches of both, whatever a case is made of.

All that can be wrong with rows and files is found before training, at once. A concrete kind of batches is a file of
`medtrain.data.batches`: it says how files behind rows are read and how cases become tensors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medtrain.core.errors import Problem, UsageError
from medtrain.core.progress import Progress, to_stderr
from medtrain.core.truth import Truth
from medtrain.data.beside import SHUFFLED, check_control, columns_of, learned_columns, told_of, within
from medtrain.data.files import Files, unreadable
from medtrain.data.fingerprint import digest, label_digests, row_texts
from medtrain.data.loaders import Loaders, Rows
from medtrain.data.refusal import refuse_or_tell
from medtrain.data.rows.covariate_cells import Columns, coded
from medtrain.data.rows.groups import group_columns
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.paths import BLANK
from medtrain.data.several import SeveralRows
from medtrain.data.source import declared, reader
from medtrain.data.splitting import Splitting, excluded, told_twins
from medtrain.sampler import Shuffle
from medtrain.target import DataSpec


@dataclass(frozen=True)
class Fixed:
    """What a trained model has settled about data that it is given.

    Args:
        spec: its classes, channels, size and normalisation hold.
        all_test: rows without an official split are all tested (external data).
        splits: case and split as a run has written them; nothing is split anew then.
    """

    spec: DataSpec | None = None
    all_test: bool = False
    splits: pd.DataFrame | None = None


class Data(SeveralRows, Loaders):
    """Cases, with labels and splits, or without (`for_inputs`); of several rows each, see `SeveralRows`.

    A batch is a dict; ``case`` int64 (B,) is the row number in `cases`, ``y`` float32 (B, K) for binary (K=1) and
    multilabel (NaN unknown), int64 (B,) for multiclass, not there without labels; ``draw`` int64 (B,), where a sampler
    repeats cases: which time in the epoch it is; ``instance`` int64 (B,), where a case has several rows: which of them
    it is; ``visit`` int64 (B,), of these in training: which of the sampler's draws in the batch the row belongs to.

    Args:
        cfg: the data node of the configuration; its ``name`` is the source.
        build_sampler: called with labels, groups (patients), batch_size, seed, rank and world; gives positions, or
            pairs (position, draw).
        seed: of the run, for the sampler.
        report: takes warnings, a line or more each.
        progress: takes (done, total) while files are read.
        fixed: what a trained model has settled already.
        groups: columns of the table by which results are broken down.

    Attributes:
        inspector: the file of `medtrain.inspection` that looks such data over.
        synthetic: made up by the program.
        controls: what `data.control` may be beside shuffling.

    Known after `prepare`:
        spec: DataSpec.
        cases: a row a case: case, patient, path; with labels split and fold too.
        targets: binary float [N] 0/1, multiclass int [N], multilabel float [N, C] with NaN unknown; boxes
            float [N, C] 0/1, the classes that an image shows; None without labels.
        truth: boxes of the cases, or their sizes where boxes are predicted; None where labels are all there is.
        slots: the position in the manifest of what is seen of each row of `cases`: its own, unless data.control=image.
        beside: the columns beside the images, as all rows of the manifest have them.
        columns: of each case, coded by `spec.covariates`, float32 [N, C] with NaN; None where there are none.
        errors: why a case without labels cannot be read, by row number; those rows are in no batch.
        readable: the other row numbers.
        groups: the columns asked for as written, a row a case; None where there are none.
        held_out: with data.split_by=site the site that tests, its fold and the number of sites; else None.
        fingerprints: SHA-256 of the cases, labels and patients (``table``) and of cases and splits
            (``split``); of cases and folds (``folds``) too where there are folds, equal for all runs of one
            cross-validation.
        content: what each case is, by `medtrain.io.content`; '' where that is unknown.
        site: of each case, as the table has it; None where it has none.
        problems: what was skipped or warned of.
        excluded: {reason: cases} of what the data list and the run doesn't use.
        decoded: how many files were read now.
        noun: what people call the cases.
        planned: what was chosen from the training cases, as a text for people; '' where nothing was.
    """

    inspector = "cases"
    controls: tuple[str, ...] = ()
    noun: str = "images"
    planned: str = ""
    held_out: dict[str, Any] | None = None
    truth: Truth | None = None
    groups: pd.DataFrame | None = None
    site: list[str] | None = None
    decoded = 0
    slots: Rows
    beside: Columns
    content: list[str]

    def __init__(
        self,
        cfg: Mapping[str, Any],
        *,
        build_sampler: Callable[..., Sampler[Any]] | None = None,
        seed: int = 0,
        report: Callable[[str], None] = to_stderr,
        progress: Progress | None = None,
        fixed: Fixed | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.cfg, self.build_sampler, self.seed = self.with_grouping(cfg), build_sampler or Shuffle, seed
        self.report, self.progress = report, progress
        self.fixed, self.group_by = fixed or Fixed(), groups
        self.synthetic = declared(str(cfg["name"])).synthetic
        self.problems: list[Problem] = []
        self.fingerprints: dict[str, str] = {}
        self.excluded: dict[str, int] = {}
        self.errors: dict[int, str] = {}
        self.input: Path | None = None
        self._ready = False

    @classmethod
    def for_inputs(
        cls,
        cfg: Mapping[str, Any],
        spec: DataSpec,
        input_path: str | Path,
        progress: Progress | None = None,
        **parts: Any,
    ) -> Self:
        """Take cases without labels (a file, a folder, a table) as a trained model does; a bad one costs itself alone.

        Raises:
            UsageError: the path is not there. DataError: it holds no cases.
        """
        data = cls(cfg, fixed=Fixed(spec), progress=progress, **parts)
        data.input = Path(input_path)
        data.prepare()
        return data

    @abstractmethod
    def inputs(self, path: Path) -> Manifest:
        """List cases without labels."""

    @abstractmethod
    def describe(self, manifest: Manifest) -> DataSpec:
        """Describe new data, before any file is read; UsageError where the configuration doesn't fit them."""

    def arrange(self, manifest: Manifest) -> Manifest:
        """Look at how the rows of a source will be read (UsageError), and make of them what will be."""
        return manifest

    def settle(self) -> None:
        """Learn what is only known once files are read and splits are made."""

    def pixels(self, cases: Sequence[str]) -> NDArray[Any] | None:
        """Give (B, C, H, W), uint8 or uint16, of cases by their names, for pictures of a report; None without any."""
        return None

    def pieces_of(self, manifest: Manifest) -> Any:
        """Cut the rows that were read into what an encoder of pictures takes (`medtrain.data.batches.pieces`)."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Read, check and split all of it, once; the complete list of problems is raised at the end.

        Raises:
            UsageError: the configuration doesn't fit the data. DataError: with all that is wrong in the data.
        """
        if not self._ready:
            if self.input is None:
                self._prepare_labelled()
            else:
                self._prepare_inputs(self.input)
            self._ready = True

    def files_of(self, manifest: Manifest, rows: Sequence[int]) -> list[str]:
        """Name the file that an export reads of each of these rows of a manifest."""
        return [manifest.path[row] for row in rows]

    def rows_of_split(self, split: str) -> tuple[Manifest, list[int]]:
        """Give the rows of a split, several where cases have several, and the manifest that they are of."""
        return self.listed_rows, [row for slot in self.slots[self.rows(split)].tolist() for row in self.members[slot]]

    def files_of_split(self, split: str) -> list[str]:
        """List the files, whatever they hold, of the cases of a split."""
        manifest, rows = self.rows_of_split(split)
        columns = [manifest.path, *manifest.beside, manifest.masks or [], manifest.slides or [], manifest.tissue or []]
        return [column[row] for column in columns if len(column) for row in rows if column[row]]

    def listed(self, **assumed: Any) -> Manifest:
        """Read the labelled rows; `spec` is known from here on.

        Args:
            assumed: keys of the data node that hold for this reading.
        """
        rows = self.arrange(reader(self.cfg["name"])({**self.cfg, **assumed}, self.fixed.spec, self.progress))
        if rows.target is None:
            raise UsageError("data.columns.label=none: without labels there is nothing to learn or to judge by")
        manifest = self.put_together(rows)
        self.spec = self.fixed.spec or self.describe(manifest)
        self.beside = columns_of(manifest, self.cfg, self.fixed.spec)
        manifest.bad = sorted([*manifest.bad, *self.beside.bad], key=lambda entry: entry[0])
        manifest.warnings += self.beside.notices
        check_control(self.cfg.get("control"), self.controls, bool(self.beside.kinds))
        return manifest

    def strata(self, manifest: Manifest, rows: Rows) -> NDArray[Any]:
        """Give (N, C) indicators by which splits are stratified."""
        return self.spec.target.strata(manifest.targets[rows])

    def _prepare_labelled(self) -> None:
        manifest = self.listed()
        groups = group_columns(manifest, self.group_by, bool(self.cfg.get("merge_case")))
        splitting = Splitting(self.cfg, self.fixed.splits, self.fixed.all_test)
        splitting.check(manifest)  # before any file is read, which may take hours
        files = self.opened(manifest)
        bad = manifest.bad + unreadable(manifest, files.problems)
        dealt = splitting.deal(manifest, bad, files.content, self.strata)
        warnings = [*manifest.warnings, *files.warnings, *told_twins(manifest, dealt, files.content, self.strata)]
        self.problems += refuse_or_tell(manifest, bad, dealt.leaks, warnings, self.cfg, self.report)
        rows = dealt.rows
        self._take(manifest, rows, files)
        self.cases.insert(2, "split", dealt.splits["split"].to_numpy())
        self.cases.insert(3, "fold", dealt.splits["fold"].astype("Int64").set_axis(self.cases.index))
        self.fingerprints |= dealt.fingerprints
        self.held_out = splitting.held_out(self.cases, self.site)
        if self.fixed.spec is None and self.targets is not None:
            own = self.targets[(self.cases["split"] == "train").to_numpy()]
            beside = learned_columns(self.beside, rows[self.rows("train")])
            self.spec = replace(self.spec, target=self.spec.target.learned(own), covariates=beside)
        self._take_columns(rows, self.cases["split"].to_numpy())
        self.settle()
        self.fingerprints["table"] = self.table_digest(self.cases["patient"].tolist())
        self.groups = groups.iloc[rows].reset_index(drop=True)
        self.excluded = excluded(manifest, bad, len(rows), "leaking" if self.fixed.splits is None else "unlisted")

    def _prepare_inputs(self, path: Path) -> None:
        manifest = self.put_together(self.arrange(self.inputs(path)))
        assert self.fixed.spec is not None
        self.spec = self.fixed.spec
        self.beside = columns_of(manifest, self.cfg, self.spec, strict=False)
        files = self.opened(manifest)
        self._take(manifest, np.arange(len(manifest)), files)
        for warning in (*manifest.warnings, *self.beside.notices, *files.warnings):
            self.report(str(warning))
        self._take_columns(self.slots, np.full(len(manifest), ""))
        self.errors = {n: problem.detail for n, problem in manifest.bad if problem.kind.endswith("_conflict")}
        self.errors |= files.problems
        self.errors |= {n: problem.detail for n, problem in manifest.bad if problem.detail == BLANK}
        self.readable = np.array([row for row in range(len(manifest)) if row not in self.errors], np.int64)
        self.settle()

    def _take(self, manifest: Manifest, rows: Rows, files: Files) -> None:
        """Make cases of these rows."""
        self.slots, self._rows, self.decoded = rows, rows, files.read
        self._raw, self._manifest = manifest.raw, manifest
        columns = {"case": manifest.case, "patient": manifest.patient, "path": manifest.path}
        self.cases = pd.DataFrame({name: [column[row] for row in rows.tolist()] for name, column in columns.items()})
        self.targets = None if manifest.target is None else manifest.targets[rows]
        self.truth = None if manifest.truth is None else manifest.truth.select(rows)
        self.content = [files.identities[row] for row in rows]
        self.site = None if manifest.site is None else [manifest.site[row] for row in rows]
        self.readable = np.arange(len(rows))

    def _take_columns(self, rows: Rows, splits: NDArray[Any]) -> None:
        """Code the columns beside the images of these rows, and shuffle what `data.control` asks for."""
        known, own = self.spec.covariates, self.fixed.spec is None
        for problem in told_of(known, self.beside, rows, (splits != "train"), own):
            self.problems.append(problem)
            self.report(str(problem))
        self.columns = coded(known, self.beside, rows)
        control = self.cfg.get("control")
        if control not in SHUFFLED or self.input is not None:
            return
        order = within(splits.tolist(), int(self.cfg.get("split_seed") or 0))
        if control == "image":
            self.slots = rows[order]
        elif self.columns is not None:
            self.columns = self.columns[order]
        half = self.noun if control == "image" else "columns of data.covariates"
        self.report(f"CONTROL: the {half} are shuffled among the cases of each split (data.control={control})")

    def table_digest(self, patients: Sequence[str]) -> str:
        """Give the fingerprint of cases, labels and these patients, one a case (see `fingerprints`)."""
        assert self.targets is not None
        return digest(self.cases["case"].tolist(), list(patients), row_texts(self.targets))

    def label_texts(self) -> list[str]:
        """Write the labels of each case as text, with what else is learned from."""
        assert self.targets is not None
        texts = row_texts(self.targets)
        if not self.beside.kinds:
            return texts
        return [f"{text} {more}" for text, more in zip(texts, self.beside.texts(self._rows), strict=True)]

    def split_table(self) -> pd.DataFrame:
        """Give what splits.csv keeps of each case: names, split, fold, content, and a digest of its labels."""
        fold = self.cases["fold"].astype("Int64").astype(str).replace("<NA>", "")
        table = self.cases[["case", "patient", "split"]].assign(fold=fold, content=self.content)
        table["labels"] = label_digests(self.label_texts())
        return table if self.site is None else table.assign(site=self.site)

    @property
    def encoded(self) -> Sequence[str]:
        """Say in lines for people what a frozen encoder has made of the prepared cases; none without one."""
        return ()

    @property
    def table(self) -> pd.DataFrame:
        """Find the user's own columns, a row a case, indexed by the row numbers of the file."""
        return self._raw.typed.iloc[self._rows]
