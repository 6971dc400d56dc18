"""The limits of every metric of a sheet: which form each has (see `medtrain.metric.interval`), and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from medtrain.metric.area import clustered_limits, placements
from medtrain.metric.bootstrap import Array
from medtrain.metric.debiased import CalibrationError, calibration_error
from medtrain.metric.interval import (
    NOTHING,
    Form,
    averaged,
    correlation,
    missing,
    spread,
    turned,
)
from medtrain.metric.ranking import ratio
from medtrain.metric.share import bounded_limits, of_jaccard, share_forms
from medtrain.metric.sheet import SHARES, WEIGHTED, Key, OrderedSheet, Sheet
from medtrain.metric.slope import intercept_limits, slope_limits

SIGNED = (-1.0, 1.0)
UNBOUNDED = (-np.inf, np.inf)
ACCURACIES = ("sensitivity", "ppv", "f1")  # over all classes pooled, where each case has one: all are the accuracy
PLAIN = "the plain value is biased: see ece_debiased"


class Pool:
    """Decisions and scores of pairs of case and class against the rest, by patient.

    Args:
        probs_M, positive_M, cell_M, patient_M: of M pairs; cells as `OneClass.cell`.
    """

    def __init__(self, probs_M: Array, positive_M: Array, cell_M: Array, patient_M: Array, n_patients: int) -> None:
        self.probs_M, self.positive_M, self.patient_M = probs_M, positive_M, patient_M
        self.n_patients = n_patients
        cells = np.bincount(cell_M * n_patients + patient_M, minlength=4 * n_patients)
        self.counts_4P = cells.reshape(4, n_patients).astype(np.float64)

    @cached_property
    def behind(self) -> tuple[int, int]:
        """Count the patients with a positive, and with a negative pair."""
        return tuple(int((self.counts_4P[list(cells)].sum(axis=0) > 0).sum()) for cells in ((0, 2), (1, 3)))  # type: ignore[return-value]

    def share(self, name: str) -> Form:
        """Give the form of a metric that is a share of cases."""
        return self._shares[name]

    @cached_property
    def _shares(self) -> dict[str, Form]:
        hits_TP, cases_TP = (
            np.stack([self.counts_4P[list(cells[side])].sum(axis=0) for cells in SHARES.values()]) for side in (0, 1)
        )
        forms = dict(zip(SHARES, share_forms(hits_TP, cases_TP)[1], strict=True))
        return forms | {"f1": of_jaccard(forms["f1"])}

    def auroc(self, area: float) -> Form:
        """Give the form of the AUROC."""
        if min(self.behind) < 2:
            return Form(NOTHING, self.behind)
        placed_M = placements(self.probs_M, self.positive_M)
        limits = clustered_limits(area, placed_M, self.positive_M, self.patient_M, self.n_patients)
        return Form(limits, self.behind)

    def auprc(self, area: float, values_R: Array) -> Form:
        """Give the form of the average precision: about a share of the positive patients."""
        k, m = self.behind
        return Form(bounded_limits(area, spread(values_R, self.n_patients), k, k * min(area, 1 - area)), (k, m))

    def agreement(self, value: float, values_R: Array, shares: Array, behind: tuple[int, ...]) -> Form:
        """Give the form of MCC and kappa: near 1 both lack errors / (cases x (1 - sum of squared class shares)).

        Args:
            shares: of the classes.
            behind: patients of each class.
        """
        patients = int((self.counts_4P.sum(axis=0) > 0).sum())
        wrong = max(0.0, float(self.counts_4P[1:3].sum()) - 1)
        worth = max(1.0, 2 * (1 - float((shares**2).sum())) * patients)
        limits = bounded_limits(value, spread(values_R, self.n_patients), worth, wrong, SIGNED)
        return Form(limits, behind, SIGNED)


class SheetForms:
    """The form of each metric of a sheet.

    Args:
        values, replicates: of the sheet.
        patient_N: the number of each case's patient.
    """

    def __init__(
        self,
        sheet: Sheet,
        values: Mapping[Key, float],
        replicates: Mapping[Key, Array],
        patient_N: Array,
        n_patients: int,
    ) -> None:
        self.sheet, self.values, self.replicates = sheet, values, replicates
        self.patient_N, self.n_patients = patient_N, n_patients
        self.pools = {
            name: Pool(column.probs, column.target > 0.5, column.cell, patient_N[column.cases], n_patients)
            for name, column in zip(sheet.classes, sheet.columns, strict=True)
        }
        self._forms: dict[Key, Form] = {}

    def of(self, key: Key) -> Form:
        """Give the form of a metric."""
        if key not in self._forms and key[1] == "ece":
            self._forms[key] = Form(NOTHING, reason=PLAIN)
        elif key not in self._forms:
            parts = self.sheet.parts(key[1]) if key[0] is None else []
            if parts:
                self._forms[key] = self.of(parts[0]) if len(parts) == 1 else self._mean(parts)
            else:
                self._forms[key] = self._whole(key[1]) if key[0] is None else self._class(key[0], key[1])
        return self._forms[key]

    def _mean(self, parts: Sequence[Key], of_others: bool = False) -> Form:
        """Give the form of a mean of metrics; without an interval where one of them has none.

        Args:
            of_others: each is about other cases, so that nothing relates those that don't vary.
        """
        forms = [self.of(part) for part in parts]
        for (name, _), part, form in zip(parts, parts, forms, strict=True):
            reason = missing(self.values[part], form, self.replicates.get(part))
            if reason:
                return Form(NOTHING, reason=f"{name}: {reason}")
        values_C, limits_C2 = np.array([self.values[part] for part in parts]), np.array([f.limits for f in forms])
        related = correlation([self.replicates[part] for part in parts], of_others)
        if parts[0][1] == "calibration_slope":  # of few cases all are too steep: their errors have a part in common
            related = np.ones_like(related)
        return Form(averaged(values_C, limits_C2, related), ends=forms[0].ends)

    def _class(self, name: str, metric: str) -> Form:
        pool, value, values_R = self.pools[name], self.values[name, metric], self.replicates[name, metric]
        if metric in SHARES:
            return pool.share(metric)
        column = self.sheet.columns[self.sheet.classes.index(name)]
        if metric == "auroc":
            return pool.auroc(value)
        if metric == "auprc":
            return pool.auprc(value, values_R)
        if metric == "balanced_accuracy":
            sides: list[Key] = [(name, "sensitivity"), (name, "specificity")]
            return Form(self._mean(sides, of_others=True).limits, pool.behind)
        if metric in ("mcc", "kappa"):
            share = float(column.target.mean()) if len(column.target) else np.nan
            return pool.agreement(value, values_R, np.array([share, 1 - share]), pool.behind)
        if metric == "brier":
            return self._brier(value, values_R)
        if min(pool.behind) < 2:
            return Form(NOTHING, pool.behind, UNBOUNDED)
        patient_M = np.unique(pool.patient_M, return_inverse=True)[1]
        given = (column.recalibration, column.probs, column.target, patient_M)
        limits = slope_limits(*given) if metric == "calibration_slope" else intercept_limits(*given)
        return Form(limits, pool.behind, UNBOUNDED)

    def _brier(self, value: float, values_R: Array, top: float = 1.0) -> Form:
        """Give the form of the Brier score, whose spread a few patients who are badly wrong make.

        Args:
            top: its greatest value.
        """
        patients = self.n_patients
        wrong = patients * min(value / top, 1 - value / top)
        limits = bounded_limits(value, spread(values_R, patients), patients, wrong, (0.0, top))
        return Form(limits, (patients,), (0.0, top))

    def _whole(self, metric: str) -> Form:
        """Give the form of what pools all pairs, or is defined on all classes together."""
        value, values_R = self.values[None, metric], self.replicates[None, metric]
        name = metric.removesuffix("_micro")
        if name != metric:
            if name in ACCURACIES and not self.sheet.partial:
                return self._together.share("accuracy")
            if name in SHARES:
                return self._pooled.share(name)
            return self._pooled.auroc(value) if name == "auroc" else self._pooled.auprc(value, values_R)
        if metric == "brier":
            return self._brier(value, values_R, top=2.0)
        if metric == "mae_grades":
            top = float(len(self.sheet.classes) - 1)
            limits = turned(value, values_R, self.n_patients, np.log, np.exp)
            return Form(limits, (self.n_patients,), (0.0, top))
        if metric in WEIGHTED and isinstance(self.sheet, OrderedSheet):  # a rare grade decides little of them
            limits = turned(value, np.clip(values_R, -1, 1), self.n_patients, np.arctanh, np.tanh)
            return Form(limits, (self.n_patients,), SIGNED)
        if metric == "within_one":
            return self._near.share("accuracy")
        together = self._together
        if metric == "accuracy":
            return together.share(metric)
        shares = np.array([float(pool.counts_4P[[0, 2]].sum()) for pool in self.pools.values()])
        behind = tuple(self.pools[name].behind[0] for name in self.sheet.averaged)
        return together.agreement(value, values_R, ratio(shares, shares.sum()), behind)

    @cached_property
    def _pooled(self) -> Pool:
        """Pool all pairs of case and class."""
        columns, pools = self.sheet.columns, self.pools.values()
        probs_M, positive_M, patient_M = (
            np.concatenate([getattr(pool, name) for pool in pools]) for name in ("probs_M", "positive_M", "patient_M")
        )
        return Pool(probs_M, positive_M, np.concatenate([c.cell for c in columns]), patient_M, self.n_patients)

    @cached_property
    def _together(self) -> Pool:
        """Make a pair of each case of exclusive classes: right or wrong."""
        n = len(self.patient_N)
        right_N = np.zeros(n, bool)
        for column in self.sheet.columns:
            right_N[column.cases[column.cell == 0]] = True
        return Pool(np.zeros(n), right_N, np.where(right_N, 0, 2), self.patient_N, self.n_patients)

    @cached_property
    def _near(self) -> Pool:
        """Make a pair of each case of grades in order: off by one at most, or by more."""
        assert isinstance(self.sheet, OrderedSheet)
        near_N = self.sheet.apart_N <= 1
        return Pool(np.zeros(len(near_N)), near_N, np.where(near_N, 0, 2), self.patient_N, self.n_patients)

    def calibration(self, name: str | None, limits: bool = True) -> CalibrationError:
        """Compute the calibration error of a class's diagram; None: of the predicted class's."""
        bins, cases = self.sheet.diagram(name)
        return calibration_error(bins, self.patient_N[cases], self.n_patients, limits)
