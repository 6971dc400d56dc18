"""Put together what the runs of a cross-validation measured of cases that they had not seen, from their files.

Each case is judged once, by the run that tested it; no network is run. Masks of several runs can't be averaged
from their files, as probabilities are not written: `test` of an ensemble runs its members and averages those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.io.files import read_json_map
from medtrain.metric import EvalOptions, spread_over
from medtrain.metric.bootstrap import Array
from medtrain.metric.mask_overlap import METRICS, draw_masks, evaluate_masks
from medtrain.metric.mask_table import columns_of, measured_in
from medtrain.target import Decision, Outcome

NO_SETS = "masks have none"


@dataclass(frozen=True)
class MaskFold:
    """Cases that one run tested.

    Args:
        repeat: which of several cross-validations, from 0.
        number: which part of it.
        rows: case and patient.
        measured_NCM: as of `medtrain.metric.mask_overlap.measure`.
        components: as the run's decision has them.
    """

    repeat: int
    number: int | None
    rows: pd.DataFrame
    measured_NCM: Array
    components: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskJudge:
    """How masks are judged: the classes, and the tolerance in mm of their surfaces."""

    classes: tuple[str, ...]
    tolerance: float

    def fold(self, repeat: int, number: int | None, folders: Sequence[Path], policy: str | float) -> MaskFold:
        """Read the run that tested a fold.

        Raises:
            UsageError: several runs tested the same cases.
            MedtrainError: its table lacks what was measured.
        """
        if len(folders) > 1 or repeat:
            raise UsageError(
                "ensemble: masks of several runs on the same cases can't be averaged from their files; "
                "give one run a fold of one cross-validation"
            )
        file = folders[0] / "test_predictions.csv"
        table = pd.read_csv(file, dtype={"case": str, "patient": str}, keep_default_na=False)
        measured = measured_in({str(name): table[name] for name in table}, self.classes)
        if measured is None:
            raise MedtrainError(f"{file}: lacks the metrics of {', '.join(self.classes)}; test the run again")
        decision = folders[0] / "decision.json"
        components = read_json_map(decision).get("components") if decision.is_file() else None
        return MaskFold(repeat, number, table[["case", "patient"]], measured, components or {})

    def fit_whole(
        self, folds: Sequence[MaskFold], order: Sequence[str], policy: str | float, options: EvalOptions
    ) -> Decision:
        """Decide by all folds of which classes only the largest component counts in other data; else nothing."""
        known = [fold.components for fold in folds if fold.components]
        ways = ("all", "largest")
        components = {
            name: {way: float(np.mean([own[name][way] for own in known if name in own])) for way in ways}
            for name in (known[0] if known else ())
        }
        return Decision(policy, 1.0, {}, no_sets=NO_SETS, components=components)

    def judge(
        self, folds: Sequence[MaskFold], decision: Decision, order: Sequence[str], options: EvalOptions
    ) -> Outcome:
        """Judge the cases of all folds as one set, in this order."""
        rows = pd.concat([fold.rows for fold in folds], ignore_index=True)
        stacked = [row for fold in folds for row in fold.measured_NCM]
        place = pd.Index(rows["case"]).get_indexer(pd.Index(order))
        if len(place) != len(rows) or (place < 0).any():
            raise MedtrainError(f"masks of {len(rows)} cases were written, not of the {len(order)} in splits.csv")
        rows = rows.iloc[place].reset_index(drop=True)
        judged = judge_masks(rows, np.stack([stacked[n] for n in place]), self.classes, options, self.tolerance)
        facts = [self._facts(fold) for fold in folds]
        judged.metrics["folds"] = spread_over([fact["metrics"] for fact in facts])
        if folds[0].number is not None:
            judged.metrics["cross_validation"] = {"folds": facts}
        return judged

    def _facts(self, fold: MaskFold) -> dict[str, Any]:
        patients = fold.rows["patient"].tolist()
        values = draw_masks(fold.measured_NCM, self.classes, patients, EvalOptions(0)).values
        known = {metric: values[None, metric] for metric in METRICS}
        true = (fold.measured_NCM[..., 2] > 0).sum(0).tolist()
        return {
            "repeat": fold.repeat,
            "fold": fold.number,
            "n_cases": len(fold.rows),
            "n_patients": len(set(patients)),
            "events": dict(zip(self.classes, true, strict=True)),
            "thresholds": {},
            "metrics": {metric: value if value == value else None for metric, value in known.items()},
        }


def judge_masks(
    rows: pd.DataFrame, measured_NCM: Array, classes: Sequence[str], options: EvalOptions, tolerance: float
) -> Outcome:
    """Judge masks: test_metrics.json and, a row a case, test_predictions.csv.

    Args:
        rows: case and patient of each of N cases, and what else the table shall have.
        measured_NCM: as of `medtrain.metric.mask_overlap.measure`.
        options: replicates and groups of the N cases.
        tolerance: mm, by which surfaces were compared.
    """
    patients = rows["patient"].astype(str).tolist()
    judged = evaluate_masks(measured_NCM, classes, patients, options)
    empty = judged.pop("counts")
    counts = {"n_cases": len(rows), "n_patients": len(set(patients)), "empty_masks": empty, "tolerance_mm": tolerance}
    table = rows.reset_index(drop=True).assign(**columns_of(measured_NCM, classes))
    return Outcome(counts | judged, {"test_predictions.csv": table}, _empty_masks(empty, len(rows)))


def _empty_masks(empty: Mapping[str, Mapping[str, int]], cases: int) -> list[str]:
    """Say which cases have no value: where both masks are empty, and where one is."""
    texts = []
    for name, counts in empty.items():
        if counts["both_empty"]:
            texts.append(f"{name}: both masks of {counts['both_empty']} of {cases} cases are empty: left out")
        alone = counts["only_predicted"] + counts["only_true"]
        if alone:
            texts.append(f"{name}: one mask of {alone} of {cases} cases is empty: Dice 0, no distance of surfaces")
    return texts
