"""The data of one evaluation, arranged once so that any weights of the patients give all metrics.

The point value and the replicates of an interval come from the same code: the value is the replicate in which each
patient weighs one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from medtrain.metric.binary import NAMES, OneClass, count_metrics, sums_matrix
from medtrain.metric.bootstrap import Array, patient_counts
from medtrain.metric.calibration import Reliability
from medtrain.metric.ranking import Ranking, ratio

MICRO = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
WEIGHTED = ("kappa_linear", "kappa_quadratic")
TOGETHER = (
    "accuracy",
    "mcc",
    "kappa",
    "kappa_linear",
    "kappa_quadratic",
    "brier",
    "ece",
)  # of several classes that exclude each other
GRADES = ("mae_grades", "within_one")  # of grades in order
EXACT = 2**24  # whole numbers up to here are exact in single precision
SHARES = {
    "accuracy": ((0, 3), (0, 1, 2, 3)),
    "sensitivity": ((0,), (0, 2)),
    "specificity": ((3,), (1, 3)),
    "ppv": ((0,), (0, 1)),
    "npv": ((3,), (2, 3)),
    "f1": ((0,), (0, 1, 2)),
}
"""The kinds of cases (see `OneClass.cell`) that a metric is a share of: those that count, of which. F1 is 2 s / (1 + s)
of its share s, Jaccard's index."""
Key = tuple[str | None, str]  # (class or None for the whole, metric)
Bins = tuple[Array, Array, Array]  # n_B, predicted_B, observed_B


class Sheet:
    """All metrics of N cases; see `medtrain.metric.evaluate` for what they are.

    A subclass says what the whole is: the last class alone, or a summary of all.

    Args:
        probs_NC: one column a class, of two classes too.
        target_NC: 1, 0, or NaN where unknown.
        predicted_NC: true where decided for.
        classes: C names.

    Attributes:
        partial: labels of one case may be known for some classes and unknown for others.
        whole_class: the class that the whole is about; None where it is a summary of all.
    """

    partial = False
    whole_class: str | None = None

    def __init__(self, probs_NC: Array, target_NC: Array, predicted_NC: Array, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.columns = [
            OneClass(probs_NC[:, c], target_NC[:, c], predicted_NC[:, c].astype(float)) for c in range(len(classes))
        ]
        self._matrices = [column.matrix for column in self.columns]
        self._entries = sum(len(column.cases) for column in self.columns)

    def whole(self, by_class: list[dict[str, Array]], sums: list[Array]) -> dict[str, Array]:
        """Summarise the classes: {metric: values_R}.

        Args:
            by_class: the metrics of every class.
            sums: the sums_KR of every matrix, those of the classes first.
        """
        raise NotImplementedError

    @property
    def averaged(self) -> list[str]:
        """Name the classes whose mean the whole is: those that these data can tell apart."""
        return [name for name, column in zip(self.classes, self.columns, strict=True) if column.two_sided]

    @property
    def diagrams(self) -> list[str | None]:
        """Name the reliability diagrams to show: classes, and None for that of the predicted class."""
        return list(self.classes)

    def values(self) -> tuple[dict[Key, float], dict[str | None, Bins]]:
        """Compute the metrics, NaN where undefined, and the reliability diagram of each class (None: of the whole)."""
        sums = [np.asarray(matrix.sum(axis=1))[:, None] for matrix in self._matrices]
        metrics = self._statistics(sums, exact=True)
        bins: dict[str | None, Bins] = {name: _first(shares) for name, shares in self._shares(sums).items()}
        values = {key: float(v[0]) for key, v in metrics.items()}
        return {key: value if np.isfinite(value) else math.nan for key, value in values.items()}, bins

    def replicates(
        self, patient_N: Array, n_patients: int, replicates: int, seed: int, binned: bool = True
    ) -> dict[Key, Array]:
        """Draw bootstrap replicates over patients: values_R of each metric.

        Weights and their sums are held in single precision, in which counts are exact and the rest is right to about
        1e-5, far below the chance of 2,000 replicates. Empty for no replicates and for fewer than two patients,
        whose spread can't be known.

        Args:
            patient_N: the number 0..P-1 of each case's patient.
            binned: false leaves out the ECE, whose bins take a third of the time.
        """
        if replicates <= 0 or n_patients < 2:
            return {}
        dtype = np.float32 if self._entries < EXACT // 4 else np.float64
        shape = (len(patient_N), n_patients)
        membership = csr_array((np.ones(len(patient_N)), patient_N, np.arange(len(patient_N) + 1)), shape=shape)
        wanted = self._matrices if binned else self._unbinned()
        matrices = [(matrix @ membership).astype(dtype) for matrix in wanted]
        parts: dict[Key, list[Array]] = {}
        for counts_RP in patient_counts(n_patients, replicates, seed):
            weights_PR = np.ascontiguousarray(counts_RP.T, dtype=dtype)
            for key, values in self._statistics([matrix @ weights_PR for matrix in matrices]).items():
                parts.setdefault(key, []).append(values)
        return {key: np.concatenate(values) for key, values in parts.items() if binned or key[1] != "ece"}

    def _unbinned(self) -> list[csr_array]:
        """List the matrices without bins."""
        return [column.unbinned() for column in self.columns] + self._matrices[len(self.columns) :]

    def diagram(self, name: str | None) -> tuple[Reliability, Array]:
        """Find the reliability diagram of a class, and which cases it has."""
        assert name is not None
        column = self.columns[self.classes.index(name)]
        return column.reliability, column.cases

    def _shares(self, sums: list[Array]) -> dict[str | None, tuple[Array, Array, Array]]:
        """Compute n_BR, predicted_BR and observed_BR of each diagram."""
        return {name: column.bins(s) for name, column, s in zip(self.classes, self.columns, sums, strict=False)}

    def parts(self, metric: str) -> list[Key]:
        """Name the metrics of classes whose mean a metric of the whole is; none where it is not a mean."""
        return [] if self.whole_class is None else [(self.whole_class, metric)]

    def _statistics(self, sums: list[Array], exact: bool = False) -> dict[Key, Array]:
        """Compute values_R of every metric, from the sums_KR of each matrix."""
        by_class = [column.statistics(s, exact) for column, s in zip(self.columns, sums, strict=False)]
        out: dict[Key, Array] = {(None, name): values for name, values in self.whole(by_class, sums).items()}
        for name, values in zip(self.classes, by_class, strict=True):
            out |= {(name, metric): v for metric, v in values.items()}
        return out


class PositiveSheet(Sheet):
    """Two classes, of which the last is looked for: the whole is that class."""

    @property
    def whole_class(self) -> str:  # type: ignore[override]
        """Name the positive class."""
        return self.classes[-1]

    def whole(self, by_class: list[dict[str, Array]], sums: list[Array]) -> dict[str, Array]:
        """Take the metrics of the positive class."""
        return dict(by_class[-1])

    @property
    def averaged(self) -> list[str]:
        """Name the positive class."""
        return self.classes[-1:]

    @property
    def diagrams(self) -> list[str | None]:
        """Name the positive class."""
        return [self.classes[-1]]


class LabelsSheet(Sheet):
    """Any number of classes a case: the whole is the mean over classes, and all (case, class) pairs pooled."""

    partial = True
    micro: tuple[str, ...] = MICRO

    def __init__(self, probs_NC: Array, target_NC: Array, predicted_NC: Array, classes: Sequence[str]) -> None:
        super().__init__(probs_NC, target_NC, predicted_NC, classes)
        self.pooled = Ranking(
            np.concatenate([column.probs for column in self.columns]),
            np.concatenate([column.target > 0.5 for column in self.columns]),
        )
        cases = np.concatenate([column.cases for column in self.columns])
        self._matrices.append(_summed(self.pooled.n_rows, self.pooled.rows_M, cases, np.ones(len(cases)), probs_NC))

    def parts(self, metric: str) -> list[Key]:
        """Name the metric of each class in the mean."""
        return [] if metric.endswith("_micro") else [(name, metric) for name in self.averaged]

    def whole(self, by_class: list[dict[str, Array]], sums: list[Array]) -> dict[str, Array]:
        """Average the classes, and pool all (case, class) pairs."""
        counts_C4R = np.stack([column.counts(s) for column, s in zip(self.columns, sums, strict=False)])
        return self._macro(by_class, counts_C4R.shape[2]) | self._micro(sums[len(self.columns)], counts_C4R)

    def _macro(self, by_class: list[dict[str, Array]], replicates: int) -> dict[str, Array]:
        present = [values for values, column in zip(by_class, self.columns, strict=True) if column.two_sided]
        if not present:
            return {name: np.full(replicates, np.nan) for name in NAMES}
        with np.errstate(invalid="ignore"):  # slopes of infinity and of minus infinity have no mean
            return {name: np.mean([values[name] for values in present], axis=0) for name in NAMES}

    def _micro(self, sums_KR: Array, counts_C4R: Array) -> dict[str, Array]:
        auroc, auprc = self.pooled.areas(sums_KR)
        pooled = count_metrics(*counts_C4R.sum(axis=0))
        values = {"auroc": auroc, "auprc": auprc} | {name: pooled[name] for name in self.micro}
        return {f"{name}_micro": v for name, v in values.items()}


class ExclusiveSheet(LabelsSheet):
    """One class of several a case: some metrics of the whole are defined on all classes together."""

    partial = False
    micro = tuple(name for name in MICRO if name != "accuracy")

    def __init__(self, probs_NC: Array, target_NC: Array, predicted_NC: Array, classes: Sequence[str]) -> None:
        super().__init__(probs_NC, target_NC, predicted_NC, classes)
        n = len(probs_NC)
        correct = (predicted_NC & (target_NC > 0.5)).any(axis=1)
        confidence = np.where(predicted_NC, probs_NC, 0).max(axis=1, initial=0)
        self.top = Reliability(confidence, correct.astype(float))
        cases = np.tile(np.arange(n), 2)
        apart = np.abs(predicted_NC.argmax(axis=1) - np.nan_to_num(target_NC).argmax(axis=1)).astype(float)
        rows, values = np.repeat([0, 1], n), np.concatenate([apart, apart**2])
        self._matrices.append(_summed(2, rows, cases, values, probs_NC))
        self._matrices.append(_summed(self.top.n_rows, self.top.rows_N, cases, self.top.values_N, probs_NC))

    def parts(self, metric: str) -> list[Key]:
        """Name the metric of each class in the mean; none of what is defined on all classes together."""
        if metric in TOGETHER:
            return []
        return super().parts("sensitivity" if metric == "balanced_accuracy" else metric)

    def whole(self, by_class: list[dict[str, Array]], sums: list[Array]) -> dict[str, Array]:
        """Average the classes, pool all pairs, and judge all classes together."""
        counts_C4R = np.stack([column.counts(s) for column, s in zip(self.columns, sums, strict=False)])
        macro = self._macro(by_class, counts_C4R.shape[2])
        together = self._together(counts_C4R, by_class, macro["sensitivity"])
        together |= _weighted_kappas(counts_C4R, sums[len(self.columns) + 1].astype(np.float64))
        top = sums[-1].astype(np.float64)
        together["ece"] = self.top.error(top) if len(top) else np.full(top.shape[1], np.nan)
        return macro | together | self._micro(sums[len(self.columns)], counts_C4R)

    def _together(self, counts_C4R: Array, by_class: list[dict[str, Array]], recall_R: Array) -> dict[str, Array]:
        """Compute metrics on all classes together; mcc is Gorodkin's R_K (Comput. Biol. Chem. 2004, eq. 8)."""
        tp, fp, fn, _ = np.moveaxis(counts_C4R, 1, 0)
        n, right = counts_C4R[0].sum(axis=0), tp.sum(axis=0)
        true_CR, predicted_CR = tp + fn, tp + fp
        chance = (true_CR * predicted_CR).sum(axis=0)
        spread = (n**2 - (true_CR**2).sum(axis=0)) * (n**2 - (predicted_CR**2).sum(axis=0))
        return {
            "accuracy": ratio(right, n),
            "balanced_accuracy": recall_R,
            "mcc": ratio(right * n - chance, np.sqrt(spread)),
            "kappa": ratio(right * n - chance, n**2 - chance),
            "brier": np.sum([values["brier"] for values in by_class], axis=0),
        }

    def _unbinned(self) -> list[csr_array]:
        return [*super()._unbinned()[:-1], self._matrices[-1][:0]]

    @property
    def diagrams(self) -> list[str | None]:
        """Name the diagram of the predicted class (None) and that of each class."""
        return [None, *self.classes]

    def diagram(self, name: str | None) -> tuple[Reliability, Array]:
        """Find the diagram of a class, as `Sheet` does; None: of the predicted class."""
        return (self.top, np.arange(self.top.bin_N.size)) if name is None else super().diagram(name)

    def _shares(self, sums: list[Array]) -> dict[str | None, tuple[Array, Array, Array]]:
        top: dict[str | None, tuple[Array, Array, Array]] = {None: self.top.shares(sums[-1].astype(np.float64))}
        return top | super()._shares(sums)


class OrderedSheet(ExclusiveSheet):
    """One grade of several a case: the whole has what counts by how many grades a decision is off, too.

    ``mae_grades`` is the mean distance in grades, ``within_one`` the share of cases that are off by one at most.
    """

    def __init__(self, probs_NC: Array, target_NC: Array, predicted_NC: Array, classes: Sequence[str]) -> None:
        super().__init__(probs_NC, target_NC, predicted_NC, classes)
        self.apart_N = np.abs(predicted_NC.argmax(axis=1) - np.nan_to_num(target_NC).argmax(axis=1))
        n = len(probs_NC)
        near = (self.apart_N <= 1).astype(float)
        self._matrices.insert(-1, _summed(1, np.zeros(n, int), np.arange(n), near, probs_NC))

    def parts(self, metric: str) -> list[Key]:
        """Name the metric of each class in the mean; none of what is defined on all classes together."""
        return [] if metric in GRADES else super().parts(metric)

    def whole(self, by_class: list[dict[str, Array]], sums: list[Array]) -> dict[str, Array]:
        """Add the distance in grades, and the share of near cases."""
        whole = super().whole(by_class, sums)
        n_R = self.columns[0].counts(sums[0]).sum(axis=0).astype(np.float64)
        apart_R, near_R = sums[len(self.columns) + 1][0].astype(np.float64), sums[-2][0].astype(np.float64)
        weighted = {name: whole.pop(name) for name in WEIGHTED}
        own = {"mae_grades": ratio(apart_R, n_R), "within_one": ratio(near_R, n_R)}
        return dict(reversed(weighted.items())) | own | whole


def _weighted_kappas(counts_C4R: Array, apart_2R: Array) -> dict[str, Array]:
    """Compute Cohen's kappa with weights by how many classes a decision is off (Cohen, Psychological Bulletin 1968).

    Args:
        apart_2R: the sum over cases of the distance between the class and the decision, and of its square.
    """
    tp, fp, fn, _ = np.moveaxis(counts_C4R, 1, 0)
    true_CR, predicted_CR, n = tp + fn, tp + fp, counts_C4R[0].sum(axis=0)
    number_C = np.arange(len(counts_C4R))
    distance_CC = np.abs(number_C[:, None] - number_C)
    out = {}
    for name, weight_CC, apart_R in zip(WEIGHTED, (distance_CC, distance_CC**2), apart_2R, strict=True):
        chance_R = (true_CR * (weight_CC @ predicted_CR)).sum(axis=0)
        out[name] = ratio(chance_R - n * apart_R, chance_R)
    return out


def _summed(rows: int, row_M: Array, case_M: Array, value_M: Array, probs_NC: Array) -> csr_array:
    """Make the matrix of one part, see `sums_matrix`."""
    return sums_matrix([(rows, row_M, case_M, value_M)], len(probs_NC))[0]


def _first(bins_BR: tuple[Array, Array, Array]) -> Bins:
    n, predicted, observed = (array[:, 0] for array in bins_BR)
    return n, predicted, observed
