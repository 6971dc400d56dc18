"""Put together what several detectors predicted of images that none of them was trained on, from their files.

The boxes of networks that looked at an image are fused (`medtrain.core.box_fusion`), all weighing the same: a box that
few of them draw scores little. No network is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.box_fusion import fuse_boxes, joined
from medtrain.core.coco import read_back
from medtrain.core.errors import MedtrainError
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.io.files import read_json
from medtrain.metric import EvalOptions, HitRule, Limits, fit_box_thresholds, parse_box_policy, spread_over
from medtrain.target import Decision, Outcome, reached, side_by_side
from medtrain.task.detection.judging import judge_boxes

METRICS = ("map", "map50", "map75", "cpm", "sensitivity", "ppv", "f1")  # of single folds


@dataclass(frozen=True)
class RunBoxes:
    """Boxes of S runs in N images.

    Args:
        rows: case and patient.
        truth: the true boxes.
        parts: what each of the runs predicted; `image_N` are positions in `rows`.
    """

    rows: pd.DataFrame
    truth: Truth
    parts: tuple[PredictedBoxes, ...]

    @classmethod
    def read(cls, folders: Sequence[Path], split: str) -> RunBoxes:
        """Read the files of runs that tested (``test``), or validated on (``val``), the same images.

        Raises:
            MedtrainError: other images, or other true boxes.
        """
        alone = [_read(folder, split) for folder in folders]
        first = alone[0]
        alike = [part.in_order(first.rows["case"].tolist()) for part in alone]
        for folder, part in zip(folders, alike, strict=True):
            if not _same(part.truth, first.truth):
                raise MedtrainError(
                    f"{folder}/{split}_truth.json: other true boxes than in {folders[0]}; train both on the same labels"
                )
        return replace(first, parts=tuple(part.parts[0] for part in alike))

    def in_order(self, cases: Sequence[str]) -> RunBoxes:
        """Put the images into this order (MedtrainError: not the same images)."""
        here = pd.Index(self.rows["case"])
        if len(here) != len(cases) or set(here) != set(cases):
            raise MedtrainError(f"boxes of {len(here)} images were written, not of the {len(cases)} in splits.csv")
        order = here.get_indexer(pd.Index(cases))
        place = np.argsort(order)
        parts = tuple(replace(part, image_N=place[part.image_N]) for part in self.parts)
        return RunBoxes(self.rows.iloc[order].reset_index(drop=True), self.truth.select(order), parts)

    @property
    def fused(self) -> PredictedBoxes:
        """Fuse the boxes of all runs; those of a single one stay as they are."""
        return fuse_boxes(*joined(self.parts), len(self.parts))[0] if len(self.parts) > 1 else self.parts[0]


@dataclass(frozen=True)
class BoxFold:
    """Images that some runs tested and others on which they were tuned.

    Args:
        repeat: which of several cross-validations, from 0.
        number: which part of it; None where the runs share a test split.
        thresholds: of each class, fitted on what is fused of the tuned images.
    """

    repeat: int
    number: int | None
    tuned: RunBoxes
    tested: RunBoxes
    thresholds: dict[str, float]


@dataclass(frozen=True)
class BoxJudge:
    """How boxes are judged: the classes and the rule by which a box finds a lesion."""

    classes: tuple[str, ...]
    rule: HitRule

    def fold(self, repeat: int, number: int | None, folders: Sequence[Path], policy: str | float) -> BoxFold:
        """Read runs that tested the same images; their thresholds come from the images that they were tuned on."""
        tuned, tested = (RunBoxes.read(folders, split) for split in ("val", "test"))
        return BoxFold(repeat, number, tuned, tested, self._thresholds(tuned, tuned.fused, policy))

    def fit_whole(
        self, folds: Sequence[BoxFold], order: Sequence[str], policy: str | float, options: EvalOptions
    ) -> Decision:
        """Fit the decision on the fused boxes of all runs.

        Where the runs share a split, on those in its validation images. In a cross-validation no image is new to all
        runs: on what is fused of those that have not learned it, image by image.
        """
        if folds[0].number is None:
            tuned, boxes, basis = folds[0].tuned, folds[0].tuned.fused, Decision.basis
        else:
            tuned, boxes, unseen, runs = _by_unseen(folds, order)
            basis = (
                f"the fused boxes of networks that had not learned an image ({unseen:.3g} of {runs} an image), where "
                "the ensemble fuses those of all"
            )
        thresholds = self._thresholds(tuned, boxes, policy)
        judged = self._judged(tuned, boxes, thresholds, options).metrics
        return Decision(policy, 1.0, thresholds, basis, reached(judged, list(thresholds)), no_sets="boxes have none")

    def judge(
        self, folds: Sequence[BoxFold], decision: Decision, order: Sequence[str], options: EvalOptions
    ) -> Outcome:
        """Judge what is fused, of a cross-validation each image by the thresholds of its own fold (of several
        cross-validations their mean).

        Returns:
            The outcome; ``folds`` and, of a cross-validation, ``cross_validation`` as the classification has them.
        """
        whole, limits = _out_of_fold(folds, order, self.classes)
        outcome = self._judged(whole, whole.fused, limits, options)
        facts = [self._facts(fold) for fold in folds]
        outcome.metrics["folds"] = spread_over([fold["metrics"] for fold in facts])
        wholes = [_out_of_fold(list(own), order, self.classes) for _, own in groupby(folds, lambda fold: fold.repeat)]
        outcome.metrics["repeats"] = spread_over([self._values(one, one.fused, own) for one, own in wholes])
        tested = reached(outcome.metrics, list(self.classes))
        policy = parse_box_policy(decision.policy)
        outcome.metrics["operating_point"] = side_by_side(policy, decision.validation, tested)
        if folds[0].number is not None:
            outcome.metrics["cross_validation"] = {"folds": facts}
        return outcome

    def _thresholds(self, tuned: RunBoxes, boxes: PredictedBoxes, policy: str | float) -> dict[str, float]:
        patients = tuned.rows["patient"].tolist()
        return fit_box_thresholds(tuned.truth, boxes, self.classes, policy, self.rule, patients)

    def _judged(self, own: RunBoxes, boxes: PredictedBoxes, limits: Limits, options: EvalOptions) -> Outcome:
        return judge_boxes(own.truth, boxes, own.rows, self.classes, limits, options, self.rule)

    def _values(self, own: RunBoxes, boxes: PredictedBoxes, limits: Limits) -> dict[str, float | None]:
        metrics = self._judged(own, boxes, limits, EvalOptions(0)).metrics["metrics"]
        return {name: metrics[name]["value"] for name in METRICS}

    def _facts(self, fold: BoxFold) -> dict[str, Any]:
        """Describe the test of a fold: its images, how their boxes were decided, and the metrics."""
        tested = fold.tested
        boxes_C = np.bincount(tested.truth.label_M[~tested.truth.crowd_M], minlength=len(self.classes))
        return {
            "repeat": fold.repeat,
            "fold": fold.number,
            "n_cases": len(tested.rows),
            "n_patients": int(tested.rows["patient"].nunique()),
            "events": dict(zip(self.classes, boxes_C.tolist(), strict=True)),
            "thresholds": fold.thresholds,
            "metrics": self._values(tested, tested.fused, fold.thresholds),
        }


def _read(folder: Path, split: str) -> RunBoxes:
    """Read val_* or test_*.json of a run."""
    true = read_json(folder / f"{split}_truth.json")
    truth, boxes = read_back(read_json(folder / f"{split}_predictions.json"), true)
    truth = truth.select(np.arange(len(truth)))  # boxes in the order of the images
    names = [(str(image["file_name"]), str(image["patient"])) for image in true["images"]]
    return RunBoxes(pd.DataFrame(names, columns=["case", "patient"]), truth, (boxes,))


def _same(a: Truth, b: Truth) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("boxes_M4", "label_M", "crowd_M"))


def _out_of_fold(folds: Sequence[BoxFold], order: Sequence[str], classes: Sequence[str]) -> tuple[RunBoxes, Limits]:
    """Join what was tested, in this order of cases: of each cross-validation its runs, side by side; and the threshold
    of each image, a mean over the cross-validations."""
    sides, limits_RCN = [], []
    for _, repeat in groupby(folds, lambda fold: fold.repeat):
        own = list(repeat)
        rows = pd.concat([fold.tested.rows for fold in own], ignore_index=True)
        starts = np.cumsum([0, *(len(fold.tested.rows) for fold in own)]).tolist()
        parts = [
            joined([_from(fold.tested.parts[n], start) for fold, start in zip(own, starts, strict=False)])[0]
            for n in range(len(own[0].tested.parts))
        ]
        joint = RunBoxes(rows, _end_to_end([fold.tested.truth for fold in own]), tuple(parts))
        sides.append(joint.in_order(order))
        of_fold_CF = np.array([[fold.thresholds[name] for fold in own] for name in classes]).reshape(-1, len(own))
        of_row_CN = np.repeat(of_fold_CF, np.diff(starts), axis=1)
        limits_RCN.append(of_row_CN[:, pd.Index(rows["case"]).get_indexer(pd.Index(order))])
    whole = replace(sides[0], parts=tuple(part for side in sides for part in side.parts))
    return whole, dict(zip(classes, np.mean(limits_RCN, axis=0), strict=True))


def _from(boxes: PredictedBoxes, start: int) -> PredictedBoxes:
    """Number the images from `start`."""
    return replace(boxes, image_N=boxes.image_N + start)


def _end_to_end(truths: Sequence[Truth]) -> Truth:
    """Put the images of several truths one after the other."""
    starts = np.cumsum([0, *(len(truth) for truth in truths)]).tolist()
    cases = [truth.case_M + start for truth, start in zip(truths, starts, strict=False)]
    names = ("boxes_M4", "label_M", "case_M", "crowd_M", "area_M", "id_M", "size_N2", "image_id_N")
    fields: dict[str, Any] = {name: np.concatenate([getattr(truth, name) for truth in truths]) for name in names}
    difficult = np.concatenate([truth.crowd_M & ~truth.region_M for truth in truths])
    more = {"category_id_C": truths[0].category_id_C, "difficult_M": difficult}
    return Truth(**fields | {"case_M": np.concatenate(cases)} | more)


def _by_unseen(folds: Sequence[BoxFold], order: Sequence[str]) -> tuple[RunBoxes, PredictedBoxes, float, int]:
    """Fuse in each image what the runs drew that have not learned it; tells how many these are, and of how many."""
    whole, _ = _out_of_fold([fold for fold in folds if fold.repeat == 0], order, ())
    row = pd.Index(order)
    parts: list[tuple[int, PredictedBoxes]] = []
    drawn: list[np.ndarray] = []
    for fold in folds:
        for n in range(len(fold.tested.parts)):
            seen = np.zeros(len(order), bool)
            for side in (fold.tuned, fold.tested):
                place = row.get_indexer(pd.Index(side.rows["case"]))
                seen[place] = True
                parts.append((len(drawn), replace(side.parts[n], image_N=place[side.parts[n].image_N])))
            drawn.append(seen)
    looked_N = np.sum(drawn, axis=0)
    boxes, number = joined([part for _, part in parts])
    fused, _ = fuse_boxes(boxes, np.array([run for run, _ in parts])[number], len(drawn))
    # the share of those that drew it is of those that looked
    scored = replace(fused, score_N=fused.score_N * len(drawn) / looked_N[fused.image_N])
    return whole, scored, float(looked_N.mean()), len(drawn)
