"""Labels as tables write them (0/1, names, lists, one column a class): which target they mean, and its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.io.cells import is_unknown, names, without_decimals
from medtrain.io.table import RawTable
from medtrain.target.base import Target
from medtrain.target.binary import Binary
from medtrain.target.find import named_kind
from medtrain.target.label_lists import NO_CLASS, parts_of, separator_of
from medtrain.target.multiclass import Multiclass
from medtrain.target.multilabel import Multilabel
from medtrain.target.order import order_of, shown
from medtrain.target.quantity import refuse_quantities
from medtrain.target.reading import Labels
from medtrain.target.spelling import one_way, outside

POLICIES = {"ignore": np.nan, "zeros": 0.0, "ones": 1.0}  # what a label counts as that says neither yes nor no
APART = ("support devices",)  # CheXpert: devices are no finding, so 'No Finding' says nothing of them


@dataclass(frozen=True)
class Unsure:
    """What counts where an indicator column says neither 0 nor 1: ignore (unknown), zeros or ones.

    Irvin et al., CheXpert, AAAI 2019, compare these for -1 as U-Ignore, U-Zeros and U-Ones.

    Args:
        uncertain: of a -1, the key data.uncertain.
        blank: of an empty cell (a finding that the report doesn't mention), the key data.blank.
    """

    uncertain: str = "ignore"
    blank: str = "ignore"

    def values(self) -> dict[str, float]:
        """Map each text of an indicator column to what it stands for."""
        known = {"0": 0.0, "1": 1.0, "true": 1.0, "false": 0.0}
        return known | {"-1": POLICIES[self.uncertain], "": POLICIES[self.blank]}


def label_roles(cfg: Mapping[str, Any], model: Target | None) -> tuple[str, ...]:
    """Name the roles of the columns that what is predicted is read from: label, where `data.target` says no other.

    Raises:
        UsageError: data.target names no kind that can be asked for.
    """
    kind = named_kind(cfg.get("target"), model)
    return ("label",) if kind is None else kind.roles


def labels_of(
    raw: RawTable,
    columns: Mapping[str, Any],
    cfg: Mapping[str, Any],
    model: Target | None = None,
    unsure: Unsure | None = None,
) -> Labels:
    """Read what is predicted of each row of a table, as `data.target` says; `auto` by `read_labels`.

    Args:
        columns: of each of `label_roles`.
        cfg: the data node.
        model, unsure: as `read_labels` takes them.

    Raises:
        UsageError, DataError: as `read_labels`, and as the kind's own reading.
    """
    kind = named_kind(cfg.get("target"), model)
    if kind is not None:
        return kind.read(raw, columns, cfg, model)
    merge = bool(cfg.get("merge_case"))
    named = cfg.get("classes"), cfg.get("positive")
    return read_labels(raw, columns["label"], *named, model, unsure or Unsure(), merge)


def read_labels(
    raw: RawTable,
    column: str | list[str],
    classes: Sequence[Any] | None = None,
    positive: Any = None,
    model: Target | None = None,
    unsure: Unsure = Unsure(),
    merge_case: bool = False,
) -> Labels:
    """Read the labels of a table.

    What says that nothing is known (`medtrain.io.cells.UNKNOWN`) is a bad row, as a blank cell is, unless a class.

    Args:
        column: a column, or a list of them: one a class.
        classes: data.classes, the order of the classes; of two the last is positive.
        positive: data.positive, enough for two classes.
        model: what a trained model predicts, which holds then. Where that is several classes a case, labels that it
            doesn't know count nowhere, and classes that the table never names are unknown: a list tells what was
            found, not what was looked for.
        unsure: of indicator columns; of lists only that blank ones are zeros. Where the table has a column 'No
            Finding' and it says 1, the blank findings of that row are 0 whatever `unsure` says (but not 'Support
            Devices').
        merge_case: names that differ by case or blanks alone are one (data.merge_case).

    Raises:
        UsageError: classes or positive don't fit, a positive class must be named, names differ by case or blanks alone,
            or the labels are no classes (see `refuse_quantities`).
        DataError: there is only one class.
    """
    named = named_classes(classes) if model is None else model.classes
    if isinstance(column, list):
        return _from_columns(raw, column, named, model, unsure)
    texts = names(raw.column(column))
    separator = separator_of(set(texts), column, named)
    lists = separator is not None or (
        named is not None and any(text.lower() == NO_CLASS for text in texts) and NO_CLASS not in map(str.lower, named)
    )
    several = lists if model is None else model.several
    codes, different = pd.factorize(np.array(texts, dtype=object))
    cells = [parts_of(cell, separator if several else None) for cell in different]
    cells, notices = one_way(cells, codes, column, named, merge_case)
    if several:
        labels = _from_lists(raw, (codes, list(different), cells), named, model is not None, unsure.blank == "zeros")
        if separator not in (None, "|") and model is None:
            notices.append(_told_lists(raw, column, list(different), labels.target.classes))
    else:
        texts = np.array([cell[0] if cell else "" for cell in cells], dtype=object)[codes].tolist()
        if named is None and positive is None:
            refuse_quantities([text for text in texts if not is_unknown(text)], column, raw.file.name)
        labels = from_names(raw, texts, named, positive, model)
    return replace(labels, notices=notices)


def _told_lists(raw: RawTable, column: str, cells: list[str], classes: Sequence[str]) -> Problem:
    joint = max(cells, key=lambda cell: sum(name in cell for name in classes))
    detail = f"the labels in {column!r} are read as lists: {joint!r} names several of {shown(classes)}"
    return Problem("label_lists", raw.file.name, f"{detail}; data.classes with whole texts makes names of them", "note")


def named_classes(classes: Sequence[Any] | None) -> tuple[str, ...] | None:
    """Read data.classes; UsageError where they are no two or more different names."""
    if classes is None:
        return None
    chosen = tuple(without_decimals(str(name)) for name in classes)
    if len(set(chosen)) < len(chosen) or len(chosen) < 2:
        raise UsageError(f"data.classes={list(chosen)}: give two or more classes, each once")
    return chosen


def _from_columns(
    raw: RawTable, columns: list[str], named: tuple[str, ...] | None, model: Target | None, unsure: Unsure
) -> Labels:
    classes = named or tuple(columns)
    extra = [name for name in columns if name not in classes]
    absent = [name for name in classes if name not in columns]
    if model is not None and not model.several:
        raise UsageError(
            f"data.columns.label: the model has the classes {', '.join(classes)}; name one column of labels"
        )
    if extra or (absent and model is None):
        whose = "the model's classes are" if model is not None else "data.classes says"
        raise UsageError(f"data.columns.label={columns}, but {whose} {list(classes)}: they must have the same names")
    targets = np.full((len(raw.text), len(classes)), np.nan)
    bad, values, healthy = [], unsure.values(), _healthy(raw)
    for name in columns:
        texts = raw.text[name].map({text: _indicator(text) for text in raw.text[name].unique()})
        values_N = texts.map(values).to_numpy(float, copy=True)
        if name.lower() not in (NO_CLASS, *APART):
            values_N[healthy & (texts == "").to_numpy()] = 0.0
        targets[:, classes.index(name)] = values_N
        for n in np.flatnonzero(~texts.isin(list(values)).to_numpy()).tolist():
            detail = f"{name} is {raw.text[name].iloc[n]!r}, none of 0, 1, -1, blank"
            bad.append((n, Problem("bad_label", raw.where(int(raw.text.index[n])), detail)))
    targets[[n for n, _ in bad]] = 0.0
    return Labels(Multilabel(classes), targets, bad, lacking=absent)


def _indicator(text: str) -> str:
    """Write a cell of a column of 0 and 1 in one way; what says that nothing is known is blank."""
    return "" if is_unknown(text) else without_decimals(text).lower()


def _healthy(raw: RawTable) -> NDArray[np.bool_]:
    """Rows whose column 'No Finding' says 1; none where there is no such column."""
    name = next((name for name in raw.text.columns if str(name).lower() == NO_CLASS), None)
    if name is None:
        return np.zeros(len(raw.text), bool)
    return raw.text[name].isin(["1", "1.0"]).to_numpy(bool)


def _from_lists(
    raw: RawTable,
    cells: tuple[NDArray[Any], list[str], list[list[str]]],
    named: tuple[str, ...] | None,
    lenient: bool,
    blank_is_none: bool,
) -> Labels:
    """Make indicators of lists.

    Args:
        cells: the number of each row's cell, the different cells, and the labels in them.
        lenient: labels that are no class count nowhere; classes that are never named are unknown.
        blank_is_none: a blank cell says that there is nothing.
    """
    codes, different, lists = cells
    lists = [[part for part in parts if part.lower() != NO_CLASS or (named and part in named)] for parts in lists]
    known = set(named or ())
    dark = [n for n, parts in enumerate(lists) if any(is_unknown(part) and part not in known for part in parts)]
    dark += [n for n, cell in enumerate(different) if not cell and not blank_is_none]
    named_parts = {part for n, parts in enumerate(lists) if n not in dark for part in parts}
    classes = named or tuple(sorted(named_parts))
    if not classes:
        raise DataError(f"{raw.file} names no class in any row")
    index = {name: n for n, name in enumerate(classes)}
    rows = np.zeros((len(different), len(classes)))
    strange: dict[int, list[str]] = {}
    for n, parts in enumerate(lists):
        rows[n, [index[part] for part in parts if part in index]] = 1.0
        strange[n] = [part for part in parts if part not in index] if n not in dark else []
    unknown = np.flatnonzero(np.isin(codes, dark)).tolist()
    targets, bad = rows[codes], [(n, _unknown(raw, n, different[int(codes[n])])) for n in unknown]
    if not lenient:
        faulty = np.flatnonzero(np.isin(codes, [n for n, parts in strange.items() if parts]))
        bad += [(int(n), _outside(raw, int(n), strange[int(codes[n])][0], classes)) for n in faulty]
        targets[[n for n, _ in bad]] = 0.0
        return Labels(Multilabel(classes), targets, bad)
    targets[[n for n, _ in bad]] = 0.0
    lacking = [name for name in classes if name not in named_parts]
    targets[:, [index[name] for name in lacking]] = np.nan
    sizes = np.bincount(codes, minlength=len(different))
    outside: Counter[str] = Counter()
    for n, parts in strange.items():
        outside.update(dict.fromkeys(parts, int(sizes[n])))
    return Labels(Multilabel(classes), targets, bad, outside, lacking)


def from_names(
    raw: RawTable, texts: list[str], named: tuple[str, ...] | None, positive: Any, model: Target | None
) -> Labels:
    """Read a name a row; see `read_labels`."""
    chosen = set(model.classes if model is not None else named or ()) | ({without_decimals(str(positive))} - {"None"})
    dark = {text for text in set(texts) if is_unknown(text) and text not in chosen}
    bad = [(n, _unknown(raw, n, text)) for n, text in enumerate(texts) if text in dark]
    present = set(texts) - dark
    if model is None:
        _refuse_one_class(raw, texts, present & set(named or present), dark)
    classes = model.classes if model is not None else order_of(raw, present, named, positive)
    index = {name: n for n, name in enumerate(classes)}
    strange = [(n, text) for n, text in enumerate(texts) if text not in dark and text not in index]
    bad += [(n, _outside(raw, n, text, classes)) for n, text in strange]
    numbers = np.array([index.get(text, 0) for text in texts], np.int64)
    outside = Counter(text for _, text in strange) if model is not None else {}
    if len(classes) == 2:
        return Labels(Binary(classes), numbers.astype(np.float64), bad, outside)
    return Labels(Multiclass(classes), numbers, bad, outside)


def _refuse_one_class(raw: RawTable, texts: list[str], known: set[str], dark: set[str]) -> None:
    if len(known) != 1:
        return
    fault = f"{raw.file} has only one class ({min(known)}) in the {len(texts)} rows used: nothing to learn"
    if words := ", ".join(sorted(map(repr, dark - {""}))):
        count = sum(text in dark for text in texts)
        fault += f"; {words} ({count:,} rows) counts as unknown: data.classes can make a class of it"
    raise DataError(fault)


def _unknown(raw: RawTable, n: int, text: str) -> Problem:
    detail = f"the label is {text!r}: nothing is known (data.classes can make a class of it)" if text else ""
    return Problem("missing_label", raw.where(int(raw.text.index[n])), detail or "the label is blank")


def _outside(raw: RawTable, n: int, label: str, classes: Sequence[str]) -> Problem:
    return Problem("bad_label", raw.where(int(raw.text.index[n])), f"label {outside(label, classes)}")


def label_columns(columns: Sequence[str], named: Mapping[str, Any], model: Target | None) -> list[str] | None:
    """Find the columns called like a model's classes, where a case may have several; a table may lack some."""
    if model is None or not model.several:
        return None
    want = named.get("label")
    if want is not None and isinstance(want, str):
        return None
    return [name for name in model.classes if name in columns] or None
