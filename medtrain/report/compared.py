"""What is compared: a run, a test of one, or scores from elsewhere, with its predictions of cases or of boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.coco import read_back
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.core.words import overrides
from medtrain.io.files import read_json
from medtrain.metric import (
    Agreement,
    Cases,
    Drawn,
    EvalOptions,
    HitRule,
    Measurements,
    add_area_tests,
    draw_boxes,
    draw_cases,
)
from medtrain.metric.mask_overlap import MEASURED, draw_masks
from medtrain.metric.mask_table import measured_in
from medtrain.metric.survival import Risks, draw_survival
from medtrain.report.folder import Array, RunFolder, read_folder
from medtrain.target import Target
from medtrain.target.classes import ClassTarget

UNLIKE = ("seed", "name", "hydra.run.dir", "hydra.sweep.dir")  # overrides that leave two runs seeds of one model


@dataclass(frozen=True)
class ComparedRun(ABC):
    """A run, a test of one, or scores from elsewhere.

    Args:
        folder: its files.
        facts: run.json; of a test the facts of its run, with its own on top.
        target: what it predicts.
        cases: names of its test cases.
        patients: of each case.
    """

    folder: RunFolder
    facts: Mapping[str, Any]
    target: Target
    cases: list[str]
    patients: list[str]

    @property
    def path(self) -> str:
        return str(self.folder.path)

    @property
    def classes(self) -> list[str]:
        return list(self.target.classes)

    def has(self, metric: str) -> bool:
        """Tell whether this metric has a meaning for the run."""
        return True

    @cached_property
    def row(self) -> dict[str, int]:
        """Map each case to its row."""
        return {case: n for n, case in enumerate(self.cases)}

    @property
    def overrides(self) -> dict[str, str]:
        """Read the overrides of its command line, {key: value}."""
        return overrides(self.facts.get("overrides") or [])

    @property
    def arm(self) -> str:
        """Name what it shares with runs that differ from it by their seed alone."""
        own = {key: value for key, value in self.overrides.items() if key not in UNLIKE}
        return repr((self.facts.get("task"), self.facts.get("model"), self.facts.get("data"), sorted(own.items())))

    @abstractmethod
    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        """Give the truth of the cases at these rows, one value a case that can be compared."""

    @abstractmethod
    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        """Compute the metrics on the cases at these rows, classes in this order, and their replicates."""

    def add_tests(self, results: dict[str, Any], other: Any, rows: Array, rows_of_other: Array) -> None:  # noqa: B027
        """Add the tests of a difference that need no replicates; as a rule there are none."""


@dataclass(frozen=True)
class Compared(ComparedRun):
    """Predictions of cases by probabilities.

    Args:
        probs_NC, target_NC, predicted_NC: as of `RunFolder.predictions`, one row a name in `cases`.
        metrics: those that have a meaning; None: all.
        folds: of a cross-validation, which fold tested each case; None: it is none, or of several each case has the
            mean of, so that no two cases were judged by one network.
    """

    target: ClassTarget
    probs_NC: Array
    target_NC: Array
    predicted_NC: Array
    metrics: Sequence[str] | None = None
    folds: Array | None = None

    def has(self, metric: str) -> bool:
        return self.metrics is None or metric in self.metrics

    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        order = [self.classes.index(name) for name in classes]
        return np.nan_to_num(self.target_NC[rows][:, order], nan=-1).tolist()

    def _cases(self, rows: Array, classes: Sequence[str]) -> Cases:
        order = [self.classes.index(name) for name in classes]
        probs_NC, target_NC, predicted_NC = (
            array[rows][:, order] for array in (self.probs_NC, self.target_NC, self.predicted_NC)
        )
        return Cases(probs_NC, target_NC, predicted_NC > 0.5, classes, [self.patients[row] for row in rows.tolist()])

    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        folds = None if self.folds is None else self.folds[rows]
        return draw_cases(self._cases(rows, classes), self.target.sheet, options, folds)

    def add_tests(self, results: dict[str, Any], other: Any, rows: Array, rows_of_other: Array) -> None:
        """Add DeLong's or Obuchowski's test of the AUROC."""
        one, two = self._cases(rows, self.classes), other._cases(rows_of_other, self.classes)
        add_area_tests(results, one, two, self.target.sheet)


@dataclass(frozen=True)
class ComparedValues(ComparedRun):
    """Predictions of quantities.

    Args:
        own: of the test cases, in the order of `cases`.
    """

    own: Measurements

    def _chosen(self, rows: Array, classes: Sequence[str]) -> Measurements:
        order, part = [self.classes.index(name) for name in classes], self.own.select(rows)
        sd = None if part.sd_NV is None else part.sd_NV[:, order]
        columns = part.predicted_NV[:, order], part.target_NV[:, order]
        return Measurements(*columns, classes, [self.patients[row] for row in rows.tolist()], sd)

    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        return [
            [None if value != value else value for value in row]
            for row in self._chosen(rows, classes).target_NV.tolist()
        ]

    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        return Agreement(self._chosen(rows, classes), options).drawn()


@dataclass(frozen=True)
class ComparedRisks(ComparedRun):
    """Risks and chances of survival.

    Args:
        own: of the test cases, in the order of `cases`.
        folds: as of `Compared`.
    """

    own: Risks
    folds: Array | None = None

    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        truth = self.own.truth
        return list(zip(truth.time_N[rows].tolist(), truth.event_N[rows].tolist(), strict=True))

    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        """Compute the metrics; those of a horizon bear its name, so that runs share those of the same horizons."""
        return draw_survival(self.own.select(rows), options, None if self.folds is None else self.folds[rows])


@dataclass(frozen=True)
class ComparedMasks(ComparedRun):
    """What was measured of masks.

    Args:
        measured_NCM: of the test cases, in the order of `cases`; see `medtrain.metric.mask_table`.
    """

    measured_NCM: Array

    def _chosen(self, rows: Array, classes: Sequence[str]) -> Array:
        return self.measured_NCM[rows][:, [self.classes.index(name) for name in classes]]

    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        """Give the true volumes in ml: other masks of the same cases have others."""
        volumes: list[Any] = self._chosen(rows, classes)[..., MEASURED.index("true_volume_ml")].round(6).tolist()
        return volumes

    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        patients = [self.patients[row] for row in rows.tolist()]
        return draw_masks(self._chosen(rows, classes), classes, patients, options)


@dataclass(frozen=True)
class ComparedBoxes(ComparedRun):
    """Boxes in images.

    Args:
        truth, predicted: of the images, in the order of `cases`.
        rule: by which a box finds a lesion.
    """

    truth: Truth
    predicted: PredictedBoxes
    rule: HitRule

    def labels(self, rows: Array, classes: Sequence[str]) -> list[Any]:
        names, parts = self.classes, [self.truth.of(row) for row in rows.tolist()]
        return [
            sorted(
                (names[label], *box)
                for label, box in zip(self.truth.label_M[p].tolist(), self.truth.boxes_M4[p].tolist(), strict=True)
            )
            for p in parts
        ]

    def drawn(self, rows: Array, classes: Sequence[str], options: EvalOptions) -> Drawn:
        number_C = np.array([list(classes).index(name) for name in self.classes])
        place_I = np.full(len(self.cases), -1)
        place_I[rows] = np.arange(len(rows))
        truth, boxes = self.truth.select(rows), self.predicted.select(place_I[self.predicted.image_N] >= 0)
        truth.label_M[:] = number_C[truth.label_M]
        boxes = PredictedBoxes(boxes.boxes_N4, boxes.score_N, number_C[boxes.label_N], place_I[boxes.image_N])
        limits = {name: self.folder.thresholds.get(name, np.inf) for name in classes}
        patients = [self.patients[row] for row in rows.tolist()]
        return draw_boxes(truth, boxes, patients, classes, limits, options, self.rule)[1]


def read_compared(path: Path) -> ComparedRun | str:
    """Read the run at `path`, or say why there is nothing to compare."""
    folder = read_folder(path)
    above = path.resolve().parent / "run.json"
    facts = (read_json(above) if folder.run.get("verb") == "test" and above.is_file() else {}) | folder.run
    if folder.detections is not None and folder.truth is not None:
        return _boxes(folder, facts)
    if (read := folder.measurements()) is not None and read[1]:
        own, cases = read
        return ComparedValues(folder, facts, folder.target, cases, list(map(str, own.patients or cases)), own)
    if (risks := folder.risks()) is not None:
        cases = list(map(str, folder.table["case"])) if folder.table is not None else []
        patients = list(map(str, risks.truth.patients or cases))
        return ComparedRisks(folder, facts, folder.target, cases, patients, risks, _folds(folder, cases))
    if (masks := _masks(folder, facts)) is not None:
        return masks
    predictions = folder.predictions()
    if predictions is None or not predictions.cases or not isinstance(folder.target, ClassTarget):
        return f"no test_predictions.csv with predictions (status: {facts.get('status', 'unknown')})"
    table = folder.table
    assert table is not None
    named = table["patient"] if "patient" in table else table["case"]
    patient = dict(zip(table["case"].astype(str), named.astype(str), strict=True))
    if len(patient) < len(table):
        return f"test_predictions.csv names {len(table) - len(patient)} cases twice"
    patients = [patient[case] for case in predictions.cases]
    arrays = predictions.probs_NC, predictions.target_NC, predictions.predicted_NC
    folds = _folds(folder, predictions.cases)
    return Compared(folder, facts, folder.target, predictions.cases, patients, *arrays, folds=folds)


def _masks(folder: RunFolder, facts: Mapping[str, Any]) -> ComparedMasks | None:
    table = folder.table
    if table is None or not len(table):
        return None
    measured = measured_in({str(name): table[name] for name in table}, folder.classes)
    if measured is None or not folder.classes:
        return None
    cases, patients = table["case"].astype(str).tolist(), table["patient"].astype(str).tolist()
    return ComparedMasks(folder, facts, folder.target, cases, patients, measured)


def _folds(folder: RunFolder, cases: Sequence[str]) -> Array | None:
    """Read which fold of a single cross-validation tested each case; None where that is not known."""
    judged = (folder.test.get("cross_validation") or {}).get("folds") or []
    if not judged or len({fold["repeat"] for fold in judged}) > 1 or folder.splits is None:
        return None
    number = dict(zip(folder.splits["case"], folder.splits["fold"], strict=True))
    folds = [number.get(case) or "" for case in cases]  # blank cells are read as None
    return None if "" in folds else np.unique(folds, return_inverse=True)[1]


def _boxes(folder: RunFolder, facts: Mapping[str, Any]) -> ComparedBoxes:
    assert folder.detections is not None and folder.truth is not None
    images = folder.truth["images"]
    cases = [str(image["file_name"]) for image in images]
    patients = [str(image.get("patient", image["file_name"])) for image in images]
    rule = HitRule(folder.test.get("hit") or "iou", float(folder.test.get("iou") or 0.5))
    boxes = read_back(folder.detections, folder.truth)
    return ComparedBoxes(folder, facts, folder.target, cases, patients, *boxes, rule)
