"""Who trains, who validates, who tests: by patient, stratified, and the same for ever for the same table.

Splits depend on the patients' names, their labels and `data.split_seed`; not on the order of rows, nor on the run's
seed. Official splits are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.streams import stream

SPLITS = ("train", "val", "test")
SHARES = (0.7, 0.1, 0.2)
VAL_OF_TRAIN = 0.125  # 10 of the 80 % that official tables leave for train and val
NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),  # MIMIC-CXR says validate
    **dict.fromkeys(("test", "testing"), "test"),
}
FOLD_COLUMN, SITE_COLUMN = "fold column", "site column"
EPSILON = 1e-9
OFFICIAL = (
    "data.folds and data.fold would override the table's own splits; "
    "set data.columns.split=none to ignore its split column"
)
NO_FOLDS = "data.fold={} needs data.folds=K, a fold column (data.columns.fold), or data.split_by=site"


@dataclass(frozen=True)
class Splits:
    """Hold the split of every row, and its part (fold) number where there are parts, else None."""

    split: NDArray[np.str_]
    fold: NDArray[np.int64] | None = None


def stratified_groups(
    labels_NC: ArrayLike, groups_N: ArrayLike, shares: Sequence[float], seed: int, weight_N: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Stratify iteratively (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) with whole groups as examples.

    Where a label stands in as many groups as there are parts or more, every part gets one of them.

    Args:
        labels_NC: indicators; NaN (unknown) counts as 0.
        groups_N: patients; compared as strings.
        shares: of the rows, one a part; scaled to a sum of 1.
        weight_N: how much a row counts, 1 by default.

    Returns:
        part_N, 0 ... len(shares) - 1.
    """
    names, group_N = distinct(groups_N)
    weights = np.ones(len(group_N)) if weight_N is None else np.asarray(weight_N, float)
    labels = np.nan_to_num(np.asarray(labels_NC, float).reshape(len(group_N), -1)) * weights[:, None]
    counts_GC = np.zeros((len(names), labels.shape[1]))
    np.add.at(counts_GC, group_N, labels)
    size_G = np.bincount(group_N, weights, len(names)).astype(np.float64)
    share_K = np.asarray(shares, float) / np.sum(shares)
    order = stream(seed, "split", len(names)).permutation(len(names))
    return _iterate(counts_GC, size_G, share_K, order)[group_N]


def _iterate(
    counts_GC: NDArray[np.float64], size_G: NDArray[np.float64], share_K: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    part_G = np.full(len(size_G), -1, np.int64)
    used = [int(k) for k in np.flatnonzero(share_K > 0)]
    # Plain numbers from here on: a million patients would take numpy, with a few numbers at a time, minutes.
    need_KC = (share_K[:, None] * counts_GC.sum(0)).tolist()
    need_K = (share_K * size_G.sum()).tolist()
    has_KC = np.zeros((len(share_K), counts_GC.shape[1]), bool).tolist()
    left_C = counts_GC.sum(0).tolist()
    size = size_G.tolist()

    def give(group: int, part: int, counts: list[float]) -> None:
        part_G[group] = part
        need_C, has_C = need_KC[part], has_KC[part]
        need_K[part] -= size[group]
        for label, count in enumerate(counts):
            if count:
                need_C[label] -= count
                has_C[label] = has_C[label] or count > 0
                left_C[label] -= count

    while max(left_C, default=0.0) > EPSILON:
        label = min((c for c, left in enumerate(left_C) if left > EPSILON), key=left_C.__getitem__)
        todo = order[(part_G[order] < 0) & (counts_GC[order, label] > 0)]
        for place, (group, counts) in enumerate(zip(todo.tolist(), counts_GC[todo].tolist(), strict=True)):
            without = [k for k in used if not has_KC[k][label]]
            among = without if without and len(todo) - place <= len(without) else used
            # Needs are compared to the sixth decimal, so that what rounding has left does not decide.
            needs = [(round(need_KC[k][label] * 1e6), not has_KC[k][label], need_K[k]) for k in among]
            give(group, among[needs.index(max(needs))], counts)
        left_C[label] = 0.0
    rest = order[part_G[order] < 0]
    for group, counts in zip(rest.tolist(), counts_GC[rest].tolist(), strict=True):
        give(group, max(used, key=need_K.__getitem__), counts)
    return part_G


def distinct(names_N: ArrayLike) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Sort the names, as strings, and number every one among them: `np.unique`, by a hash table."""
    index, distinct_names = pd.factorize(np.array(list(map(str, np.asarray(names_N).tolist())), dtype=object))
    names = np.array(distinct_names, dtype=str)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return names[order], rank[index]


def join_groups(groups_N: ArrayLike, content_N: ArrayLike) -> NDArray[np.str_]:
    """Join patients who share a file (by content number) to one group, named after the first of their names."""
    names, parent_N = distinct(groups_N)
    parent = list(range(len(names)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    content = np.asarray(content_N)
    order = np.argsort(content, kind="stable")
    same = np.flatnonzero(content[order[1:]] == content[order[:-1]])
    if not len(same):
        return names[parent_N]
    for one, other in zip(parent_N[order[same]], parent_N[order[same + 1]], strict=True):
        low, high = sorted((root(int(one)), root(int(other))))
        parent[high] = low
    return names[[root(node) for node in range(len(names))]][parent_N]


def official_names(
    split_N: Sequence[str], where_N: Sequence[str]
) -> tuple[NDArray[np.str_], list[tuple[int, Problem]]]:
    """Translate what tables call train, val and test ('' stays ''), and a problem for every other name, by position."""
    names = np.array([NAMES.get(str(name).strip().lower(), "") for name in split_N], dtype="<U5")
    bad = [
        (n, Problem("bad_split", where_N[n], f"split {name!r} is none of {', '.join(NAMES)}"))
        for n, name in enumerate(split_N)
        if str(name).strip() and not names[n]
    ]
    return names, bad


def check_folds(cfg: Mapping[str, Any]) -> None:
    """Find in the data node alone, before any file is read, that a fold can't be chosen.

    Raises:
        UsageError: data.folds without a data.fold below it, or data.fold where nothing makes folds.
    """
    folds, fold, columns = cfg.get("folds"), cfg.get("fold"), cfg.get("columns") or {}
    if cfg.get("split_by") == "site" or (folds is None and fold is None):
        return
    if columns.get("split") not in (None, "none"):
        raise UsageError(OFFICIAL)
    if fold is None:
        raise UsageError(f"data.folds={folds} needs data.fold=0...{int(str(folds)) - 1}, not {fold}")
    if folds is None and columns.get("fold", "none") == "none":  # null: the table may have such a column
        raise UsageError(NO_FOLDS.format(fold))


@dataclass(frozen=True)
class Way:
    """How rows are split: by the table's own splits, by given parts, in stratified folds, or 70/10/20.

    Args:
        official_N: the table's own split names ('' where blank), from `official_names`.
        parts_N: a fold or site of each row; test is part `fold`, train the rest. Of three and more folds the next one
            is val; of sites, whose number and sizes nobody chose, val is cut from train.
        parts_name: FOLD_COLUMN or SITE_COLUMN.
        folds, fold: as many stratified parts, and which one is tested.
        seed: data.split_seed.
        val_after: how many parts after the tested one the one that validates comes; None: the next.
    """

    official_N: NDArray[np.str_] | None = None
    parts_N: Sequence[str] | None = None
    parts_name: str = FOLD_COLUMN
    folds: int | None = None
    fold: int | None = None
    seed: int = 0
    val_after: int | None = None

    def check(self) -> None:
        """Refuse `fold` and `folds` that don't fit what there is (UsageError)."""
        folds, fold = self.folds, self.fold
        if self.val_after is not None:
            self._check_val_after(self.val_after)
        if self.official_N is not None:
            if fold is not None or folds is not None:
                raise UsageError(OFFICIAL)
        elif self.parts_N is not None:
            _given_parts(self.parts_N, self.parts_name, folds, fold)
        elif folds is not None:
            if folds < 2:
                raise UsageError(f"data.folds={folds}: a cross-validation has two parts or more")
            if fold is None or not 0 <= fold < folds:
                raise UsageError(f"data.folds={folds} needs data.fold=0...{folds - 1}, not {fold}")
        elif fold is not None:
            raise UsageError(NO_FOLDS.format(fold))

    def _check_val_after(self, after: int) -> None:
        parts = self.parts_N if self.parts_name == FOLD_COLUMN else ()
        count = (self.folds or 0) if parts is None else len(set(parts))
        if self.official_N is not None or not count:
            raise UsageError(f"data.val_after={after} chooses among folds: it needs data.folds or a fold column")
        if not (count > 2 and 1 <= after < count):
            raise UsageError(f"data.val_after={after}: of {count} folds it can be 1...{count - 1}, from 3 folds on")


def assign_splits(labels_NC: NDArray[np.float64], groups_N: NDArray[np.str_], way: Way) -> Splits:
    """Put every row into train, val or test.

    Args:
        labels_NC: indicators to stratify by.
        groups_N: patients, joined by `join_groups`.

    Raises:
        UsageError: as of `Way.check`. DataError: a split has no rows.
    """
    way.check()
    part, folds, fold, seed = None, way.folds, way.fold, way.seed
    if way.official_N is not None:
        split = _complete(way.official_N, labels_NC, groups_N, seed)
        why = "in the table's split column"
    elif way.parts_N is not None:
        position, numbers, test = _given_parts(way.parts_N, way.parts_name, folds, fold)
        val = _next(test, len(numbers), way.val_after) if way.parts_name == FOLD_COLUMN else None
        split = _from_parts(position, test, val, labels_NC, groups_N, seed)
        part = np.array(numbers)[position]
        why = f"with data.fold={fold} of {len(numbers)} parts"
    elif folds is not None and fold is not None:
        part = stratified_groups(labels_NC, groups_N, [1.0] * folds, seed)
        split = _from_parts(part, fold, _next(fold, folds, way.val_after), labels_NC, groups_N, seed)
        why = f"with data.folds={folds} data.fold={fold}"
    else:
        split = np.array(SPLITS)[stratified_groups(labels_NC, groups_N, SHARES, seed)]
        why = "in a 70/10/20 split"
    _refuse_empty(split, groups_N, why)
    return Splits(split, part)


def _complete(
    official_N: NDArray[np.str_], labels_NC: NDArray[np.float64], groups_N: NDArray[np.str_], seed: int
) -> NDArray[np.str_]:
    split = official_N.copy()
    if not (split == "val").any() and (split == "train").any():
        _cut_val(split, labels_NC, groups_N, seed)
    return split


def _cut_val(split: NDArray[np.str_], labels_NC: NDArray[np.float64], groups_N: NDArray[np.str_], seed: int) -> None:
    train = np.flatnonzero(split == "train")
    part = stratified_groups(labels_NC[train], groups_N[train], [1 - VAL_OF_TRAIN, VAL_OF_TRAIN], seed)
    split[train[part == 1]] = "val"


def numbered_parts(parts_N: Iterable[str], name: str = FOLD_COLUMN) -> tuple[list[str], list[int]]:
    """List the names of given parts in their order, and the number that `data.fold` takes for each."""
    names = sorted(set(parts_N), key=lambda text: (int(text) if text.isdigit() else -1, text))
    return names, [int(text) for text in names] if _by_value(names, name) else list(range(len(names)))


def _by_value(names: Sequence[str], name: str) -> bool:
    """Tell that a fold column of numbers is meant by value (1 is the fold called 1); names, and sites, count from 0."""
    return name == FOLD_COLUMN and all(text.isdigit() for text in names)


def _given_parts(
    parts_N: Sequence[str], name: str, folds: int | None, fold: int | None
) -> tuple[NDArray[np.int64], list[int], int]:
    """Find positions of the parts in the order of their names, their numbers, and the position of the tested one."""
    names, numbers = numbered_parts(parts_N, name)
    by_value = _by_value(names, name)
    shown = ", ".join(text if by_value else f"{n} ({text})" for n, text in zip(numbers, names[:20], strict=False))
    if len(names) < 2:
        raise UsageError(f"the {name} has only one part ({shown}): there would be nothing to train on")
    if folds is not None and folds != len(names):
        raise UsageError(f"data.folds={folds}, but the {name} has {len(names)} parts: {shown}")
    if fold not in numbers:
        fault = "data.fold is missing" if fold is None else f"data.fold={fold} is not there"
        raise UsageError(f"{fault}: the {name} has the parts {shown}")
    index = {text: n for n, text in enumerate(names)}
    return np.array([index[text] for text in parts_N], np.int64), numbers, numbers.index(fold)


def _next(test: int, count: int, after: int | None) -> int | None:
    """Choose the part that validates; of two parts none, or nothing would be left to train on."""
    return (test + (after or 1)) % count if count > 2 else None


def _from_parts(
    part: NDArray[np.int64],
    test: int,
    val: int | None,
    labels_NC: NDArray[np.float64],
    groups_N: NDArray[np.str_],
    seed: int,
) -> NDArray[np.str_]:
    split = np.full(len(part), "train", dtype="<U5")
    split[part == test] = "test"
    if val is not None:
        split[part == val] = "val"
    else:
        _cut_val(split, labels_NC, groups_N, seed)
    return split


def _refuse_empty(split: NDArray[np.str_], groups_N: NDArray[np.str_], why: str) -> None:
    empty = [name for name in SPLITS if not (split == name).any()]
    if empty:
        patients = len(np.unique(groups_N))
        raise DataError(
            f"no cases for {' and '.join(empty)} {why}: {len(split)} rows of {patients} patient{'s' * (patients != 1)} "
            f"(patients and equal files stay together)",
            advice="give more data, fewer folds, or a split column with train, val and test "
            "(data.columns.split=none ignores official splits)",
        )
