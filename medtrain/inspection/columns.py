"""Columns beside the images (`data.covariates`) looked over: what they hold, what is missing, how labels share them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.data.base import Data
from medtrain.data.beside import learned_columns, told_of
from medtrain.data.rows.covariate_cells import Columns
from medtrain.inspection.findings import Finding

MOST = 8  # categories, and classes, of which each is counted


def columns_beside(
    data: Data, split: NDArray[np.str_], labels_NC: NDArray[np.float64]
) -> tuple[dict[str, Any], list[Finding]]:
    """Describe each column of rows that stand in a split, and find what training would tell or refuse of them.

    Args:
        split: of every row, '' where it can't be used.
        labels_NC: 1, 0, NaN, a column a class.
    """
    beside: Columns = data.beside
    used = np.flatnonzero(split != "")
    if not beside.kinds or not len(used):
        return {}, []
    labels = dict(zip(data.spec.classes, labels_NC[used].T, strict=True))
    facts = {name: _facts(kind == "number", beside.values[name][used], labels) for name, kind in beside.kinds.items()}
    train = np.flatnonzero(split == "train")
    if not len(train) or data.spec.covariates:  # a trained model has learned them already
        return facts, []
    try:
        known = learned_columns(beside, train)
    except DataError as error:
        return facts, [Finding(Problem("no_value", "data.covariates", str(error)))]
    return facts, [Finding(problem) for problem in told_of(known, beside, used, split[used] != "train", True)]


def _facts(is_number: bool, values: NDArray[Any], labels: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    known = np.isfinite(values) if is_number else values != ""
    describe = _number if is_number else _shares
    classes = [name for name, label_N in labels.items() if len(set(label_N[np.isfinite(label_N)].tolist())) > 1]
    return {
        "kind": "number" if is_number else "category",
        "cases": len(values),
        "missing": int((~known).sum()),
        **describe(values[known]),
        "by_class": {
            name: {"missing": int((~known & (labels[name] == 1)).sum())} | describe(values[known & (labels[name] == 1)])
            for name in classes[:MOST]
        },
        "classes_left_out": len(classes[MOST:]),
    }


def _number(values: NDArray[Any]) -> dict[str, Any]:
    names = ("smallest", "lower_quartile", "median", "upper_quartile", "largest")
    ends = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist() if len(values) else [None] * len(names)
    return dict(zip(names, ends, strict=True))


def _shares(values: NDArray[Any]) -> dict[str, Any]:
    categories, counts = np.unique(values.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {"categories": {str(categories[n]): int(counts[n]) for n in order.tolist()}}
