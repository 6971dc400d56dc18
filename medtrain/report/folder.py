"""Read a run folder. A report is a pure function of these files, so it can be rebuilt at any time.

Nothing here is required: a run that broke off has no test metrics, a detection run no prediction table. The folder of
a further test (`test_1/` inside a run) finds the run's own files one level up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from medtrain.core.errors import MedtrainError
from medtrain.io import record
from medtrain.io.files import Unreadable, read_json, read_json_map
from medtrain.io.yaml_file import parse_yaml, yaml_text
from medtrain.metric import Measurements
from medtrain.metric.survival import Risks
from medtrain.target import Form, Target, kinds, target_from, target_of_columns
from medtrain.target.classes import ClassTarget
from medtrain.target.multiclass import Multiclass

Array = npt.NDArray[Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Predictions:
    """Case-level predictions, coded one class a column.

    Args:
        probs_NC: probabilities.
        target_NC: 1, 0, or NaN where unknown.
        predicted_NC: 1 or 0, the decision; NaN where there is none.
        cases: case names, as text.
        patients: of each case; None where the table doesn't say.
    """

    probs_NC: Array
    target_NC: Array
    predicted_NC: Array
    cases: list[str]
    patients: list[str] | None = None


@dataclass(frozen=True, eq=False)  # told apart as objects, so that what is costly to make of one can be cached
class RunFolder:
    """The files of a run; an absent one is {}, "" or None.

    `above` is the run that was trained, where this is the folder of a further test within it; `detections` and `truth`
    are the boxes of a detection, as COCO has them.
    """

    path: Path
    run: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    test: dict[str, Any] = field(default_factory=dict)
    table: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    splits: pd.DataFrame | None = None
    failures: pd.DataFrame | None = None
    pictures: pd.DataFrame | None = None
    detections: list[dict[str, Any]] | None = None
    truth: dict[str, Any] | None = None
    above: RunFolder | None = None

    @property
    def synthetic(self) -> bool:
        return self.run.get("synthetic") is True

    @property
    def out_of_fold(self) -> bool:
        """Tell whether each case was judged by those networks of a cross-validation that had not learned it."""
        return bool(self.test.get("folds"))

    @property
    def thresholds(self) -> dict[str, float]:
        """Give the thresholds that decided all cases; {} where there are none, or folds had their own."""
        decision = self.test.get("decision") or {}
        if self.out_of_fold and "folds" not in decision:  # of an ensemble of medtrain 0.2 or before
            return {}
        return dict(decision.get("thresholds") or {})

    @property
    def members(self) -> list[dict[str, Any]]:
        """List the runs that an ensemble is made of; [] of a single network."""
        return list(self.run.get("members") or (self.above and self.above.run.get("members")) or ())

    @cached_property
    def target(self) -> Target:
        """Tell what the run predicts, from its DataSpec, else from the columns of its predictions.

        Raises:
            MedtrainError: this version doesn't know it.
        """
        spec, several = self.run.get("spec") or {}, Multiclass(tuple(self.classes))  # of a run that broke off early
        if "label_kind" not in spec:
            return (None if self.table is None else target_of_columns(map(str, self.table))) or several
        if spec["label_kind"] not in kinds():
            what = f"spec.label_kind={spec['label_kind']} is unknown; there are {', '.join(kinds())}"
            raise MedtrainError(f"{self.path / 'run.json'}: {what}")
        try:
            return target_from(spec | {"classes": self.classes})
        except ValueError:
            return several

    @property
    def classes(self) -> list[str]:
        """List the class names in order."""
        if self.table is not None:
            named = [str(c).removeprefix("prob_") for c in self.table if str(c).startswith("prob_")]
            if named:
                return named
        return [str(c) for c in (self.run.get("spec") or {}).get("classes") or self.test.get("per_class") or []]

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """Parse config.yaml; {} where it is none."""
        try:
            loaded = parse_yaml(self.config, "config.yaml")
        except Unreadable:
            loaded = None
        return loaded if isinstance(loaded, dict) else {}

    def name(self, key: str) -> str:
        """Read the name of the `task`, `model` or `data` from run.json, else from config.yaml; may be empty."""
        value = self.run.get(key)
        if value is None:
            value = self.configuration.get(key)
        if isinstance(value, dict):
            value = value.get("name")
        return value if isinstance(value, str) else ""

    def _target_of(self, form: Form) -> Any:
        """Give the target if its predictions come in a form, else None."""
        return self.target if form in self.target.forms else None

    def measurements(self) -> tuple[Measurements, list[str]] | None:
        """Read the prediction table of quantities with the names of its cases; None where there is none."""
        table, target = self.table, self._target_of("values")
        if table is None or target is None or not {*target.named("prediction", np.empty(0))} <= set(table):
            return None
        names = list(map(str, table["case"]))
        patients = table["patient"].astype(str).tolist() if "patient" in table else None
        probs, truth, v = target.probs(table), target.labels(table, "target"), len(target.classes)
        own = probs[:, v:] if probs.shape[1] > v else None
        return Measurements(probs[:, :v], truth, target.classes, patients, own), names

    def risks(self) -> Risks | None:
        """Read the prediction table of times to an event; None where there is none."""
        table, target = self.table, self._target_of("times")
        if table is None or target is None or not {*target.columns, "time", "event"} <= set(table):
            return None
        patients = table["patient"].astype(str).tolist() if "patient" in table else None
        probs, truth = target.probs(table), target.follow_up(target.labels(table, "target"), patients)
        return Risks(probs[:, 0], probs[:, 1:], target.horizons, truth)

    def predictions(self) -> Predictions | None:
        """Read the prediction table as arrays; None where there is no table of probabilities."""
        table, target = self.table, self.target
        if (
            table is None
            or not isinstance(target, ClassTarget)
            or not {f"prob_{c}" for c in target.classes} <= set(table)
        ):
            return None
        probs = target.probs(table)
        truth, decided = target.labels(table, "target"), target.labels(table, "prediction")
        usable: Array = np.asarray(np.isfinite(probs).all(axis=1))
        cases = (table["case"] if "case" in table else table.index.to_series()).astype(str)
        patients = table["patient"][usable].astype(str).tolist() if "patient" in table else None
        return Predictions(probs[usable], truth[usable], decided[usable], cases[usable].tolist(), patients)


def read_folder(path: str | Path) -> RunFolder:
    """Read whatever a run folder, or a test folder within one, holds.

    Raises:
        MedtrainError: there is nothing of a run, or a file can't be read.
    """
    here = Path(path)
    text = _read(here, "config.yaml", yaml_text, above=True)
    run = _read(here, record.FILE, record.read_file, above=True)
    test = _read(here, "test_metrics.json", read_json_map)
    if run is None and test is None:
        raise MedtrainError(f"{here} is no run folder: neither run.json nor test_metrics.json is there.")
    parent, own = here.resolve().parent, test is not None
    return RunFolder(
        path=here,
        run=run or {},
        config=text or "",
        test=test or {},
        table=_read(here, "test_predictions.csv", _read_text_table),
        history=_read(here, "metrics.csv", _read_history, above=True),
        splits=_read(here, "splits.csv", _read_text_table, above=True),
        failures=_read(here, "failures/failures.csv", _read_text_table),
        pictures=_read(here, "pictures/pictures.csv", _read_text_table),
        detections=_read(here, "test_predictions.json", read_json),
        truth=_read(here, "test_truth.json", read_json),
        above=read_folder(parent) if own and (parent / record.FILE).is_file() else None,
    )


def _read(folder: Path, name: str, reader: Callable[[Path], T], above: bool = False) -> T | None:
    """Apply `reader` to the file here or, if `above`, one level up next to a run.json; None if absent."""
    parent = folder.resolve().parent
    places = [folder / name]
    if above and (parent / record.FILE).is_file():
        places.append(parent / name)
    for place in places:
        if place.is_file():
            try:
                return reader(place)
            except pd.errors.EmptyDataError:
                return None
            except (OSError, ValueError) as error:
                raise MedtrainError(f"{place} can't be read: {error}") from error
    return None


def _read_text_table(path: Path) -> pd.DataFrame:
    """Read a table whose identifiers and class names stay text: '007' is not 7 and 'NA' is a name."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    blank: pd.DataFrame = table.where(table != "", None)
    return blank


def _read_history(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).apply(pd.to_numeric, errors="coerce")
