"""Labels as tables write them (0/1, names, `A|B` lists, one column a class): which target they mean, and its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.words import nearest
from medtrain.io.table import RawTable
from medtrain.target.base import Target
from medtrain.target.binary import Binary
from medtrain.target.multiclass import Multiclass
from medtrain.target.multilabel import Multilabel
from medtrain.target.quantity import refuse_quantities

NO_CLASS = "no finding"
NEGATIVE = frozenset("0 no negative neg normal healthy well control benign absent false none clear nofinding".split())
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
        """What each text of an indicator column stands for."""
        known = {"0": 0.0, "1": 1.0, "true": 1.0, "false": 0.0}
        return known | {"-1": POLICIES[self.uncertain], "": POLICIES[self.blank]}


@dataclass(frozen=True)
class Labels:
    """What a table says of each row.

    Args:
        target: what is predicted, as the labels are written.
        values: of each row, coded as the target has it; rows in `bad` hold zeros.
        bad: positions and problems of labels that can't be used.
        outside: labels that a trained model doesn't know, and how many rows have them.
        lacking: classes of a trained model that the table doesn't name: unknown in all rows.
    """

    target: Target
    values: NDArray[Any]
    bad: list[tuple[int, Problem]]
    outside: Mapping[str, int] = field(default_factory=dict)
    lacking: Sequence[str] = ()


class WhichIsPositive(UsageError):
    """Two classes, and nothing that says which is looked for; `names` has a proposal's order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        super().__init__(
            f"which of the labels {names[0]!r} and {names[1]!r} is the positive one? "
            f"say it with data.positive={names[1]!r} or data.classes=[{names[0]},{names[1]}] (the last is positive)"
        )


def read_labels(
    raw: RawTable,
    column: str | list[str],
    classes: Sequence[Any] | None = None,
    positive: Any = None,
    model: Target | None = None,
    unsure: Unsure = Unsure(),
) -> Labels:
    """Read the labels of a table.

    Args:
        column: a column, or a list of them: one a class.
        classes: data.classes, the order of the classes; of two the last is positive.
        positive: data.positive, enough for two classes.
        model: what a trained model predicts, which holds then. Where that is several classes a case, labels that it
            doesn't know count nowhere, and classes that the table never names are unknown: a list tells what was
            found, not what was looked for.
        unsure: of indicator columns. Where the table has a column 'No Finding' and it says 1, the blank findings of
            that row are 0 whatever `unsure` says (but not 'Support Devices').

    Raises:
        UsageError: classes or positive don't fit, a positive class must be named, or the labels are no classes
            (see `refuse_quantities`).
        DataError: there is only one class.
    """
    named = _named(classes) if model is None else model.classes
    if isinstance(column, list):
        return _from_columns(raw, column, named, model, unsure)
    texts = _all_without_decimals(raw.text[column])
    lists = any("|" in text for text in texts) or (
        named is not None and any(text.lower() == NO_CLASS for text in texts) and NO_CLASS not in map(str.lower, named)
    )
    if lists if model is None else model.several:
        return _from_lists(raw, texts, named, lenient=model is not None)
    if named is None and positive is None:
        refuse_quantities(texts, column, raw.file.name)
    return _from_names(raw, texts, named, positive, model)


def _named(classes: Sequence[Any] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    names = tuple(without_decimals(str(name)) for name in classes)
    if len(set(names)) < len(names) or len(names) < 2:
        raise UsageError(f"data.classes={list(names)}: give two or more classes, each once")
    return names


def without_decimals(text: str) -> str:
    """Write 1.0 as 1: pandas and Excel write whole numbers so where a column has blanks."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", str(text).strip())


def _all_without_decimals(column: pd.Series) -> list[str]:
    """Write each cell `without_decimals`; a column of a million has few different ones."""
    codes, cells = pd.factorize(column.to_numpy(object))
    return np.array([without_decimals(cell) for cell in cells], dtype=object)[codes].tolist()


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
        texts = raw.text[name].map({text: without_decimals(text).lower() for text in raw.text[name].unique()})
        found = texts.map(values).to_numpy(float, copy=True)
        if name.lower() not in (NO_CLASS, *APART):
            found[healthy & (texts == "").to_numpy()] = 0.0
        targets[:, classes.index(name)] = found
        for n in np.flatnonzero(~texts.isin(list(values)).to_numpy()).tolist():
            detail = f"{name} is {raw.text[name].iloc[n]!r}, none of 0, 1, -1, blank"
            bad.append((n, Problem("bad_label", raw.where(int(raw.text.index[n])), detail)))
    targets[[n for n, _ in bad]] = 0.0
    return Labels(Multilabel(classes), targets, bad, lacking=absent)


def _healthy(raw: RawTable) -> NDArray[np.bool_]:
    """Rows whose column 'No Finding' says 1; none where there is no such column."""
    name = next((name for name in raw.text.columns if str(name).lower() == NO_CLASS), None)
    if name is None:
        return np.zeros(len(raw.text), bool)
    return raw.text[name].isin(["1", "1.0"]).to_numpy(bool)


def _from_lists(raw: RawTable, texts: list[str], named: tuple[str, ...] | None, lenient: bool) -> Labels:
    codes, different = pd.factorize(np.array(texts, dtype=object))
    lists = [[part.strip() for part in text.split("|") if part.strip()] for text in different]
    lists = [[part for part in parts if part.lower() != NO_CLASS or (named and part in named)] for parts in lists]
    found = {part for parts in lists for part in parts}
    classes = named or tuple(sorted(found))
    if not classes:
        raise DataError(f"{raw.file} names no class in any row")
    index = {name: n for n, name in enumerate(classes)}
    rows = np.zeros((len(different), len(classes)))
    strange: dict[int, list[str]] = {}
    for n, parts in enumerate(lists):
        rows[n, [index[part] for part in parts if part in index]] = 1.0
        strange[n] = [part for part in parts if part not in index]
    targets, bad = rows[codes], _blank(raw, texts)
    if not lenient:
        faulty = np.flatnonzero(np.isin(codes, [n for n, parts in strange.items() if parts]))
        bad += [(int(n), _outside(raw, int(n), strange[int(codes[n])][0], classes)) for n in faulty]
        targets[[n for n, _ in bad]] = 0.0
        return Labels(Multilabel(classes), targets, bad)
    targets[[n for n, _ in bad]] = 0.0
    lacking = [name for name in classes if name not in found]
    targets[:, [index[name] for name in lacking]] = np.nan
    sizes = np.bincount(codes, minlength=len(different))
    outside: Counter[str] = Counter()
    for n, parts in strange.items():
        outside.update(dict.fromkeys(parts, int(sizes[n])))
    return Labels(Multilabel(classes), targets, bad, outside, lacking)


def _from_names(
    raw: RawTable, texts: list[str], named: tuple[str, ...] | None, positive: Any, model: Target | None
) -> Labels:
    bad = _blank(raw, texts)
    present = {text for text in texts if text}
    classes = model.classes if model is not None else _order(raw, present, named, positive)
    index = {name: n for n, name in enumerate(classes)}
    strange = [(n, text) for n, text in enumerate(texts) if text and text not in index]
    bad += [(n, _outside(raw, n, text, classes)) for n, text in strange]
    known = present & set(classes)
    if model is None and len(known) == 1:
        raise DataError(
            f"{raw.file} has only one class ({known.pop()}) in the {len(texts)} rows used: nothing to learn"
        )
    numbers = np.array([index.get(text, 0) for text in texts], np.int64)
    outside = Counter(text for _, text in strange) if model is not None else {}
    if len(classes) == 2:
        return Labels(Binary(classes), numbers.astype(np.float64), bad, outside)
    return Labels(Multiclass(classes), numbers, bad, outside)


def _order(raw: RawTable, present: set[str], named: tuple[str, ...] | None, positive: Any) -> tuple[str, ...]:
    if positive is not None:
        positive = without_decimals(str(positive))
        among = named or tuple(sorted(present))
        if positive not in among:
            raise UsageError(
                f"data.positive={positive!r} is none of the labels {_shown(among)}{nearest(positive, among)}"
            )
        if len(among) != 2:
            raise UsageError(f"data.positive is for two classes; {raw.file.name} has {len(among)}: {_shown(among)}")
        if named and named[-1] != positive:
            raise UsageError(f"data.positive={positive!r}, but the last of data.classes={list(named)} is positive")
        return tuple(sorted(among, key=lambda name: name == positive))
    if named:
        return named
    names = sorted(present, key=lambda text: (not text.lstrip("-").isdigit(), int(text) if text.isdigit() else 0, text))
    if len(names) == 2 and names != ["0", "1"]:
        raise WhichIsPositive(negative_first(names))
    return tuple(names)


def negative_first(names: Sequence[str]) -> list[str]:
    """Class names with what usually says 'nothing found' in front: a proposal to people, never a decision."""
    return sorted(names, key=lambda name: (re.sub(r"[^a-z0-9]", "", name.lower()) not in NEGATIVE, name))


def _blank(raw: RawTable, texts: list[str]) -> list[tuple[int, Problem]]:
    rows = raw.text.index
    return [
        (n, Problem("missing_label", raw.where(int(rows[n])), "the label is blank"))
        for n, text in enumerate(texts)
        if not text
    ]


def _outside(raw: RawTable, n: int, label: str, classes: Sequence[str]) -> Problem:
    detail = f"label {label!r} is none of the classes {_shown(classes)}{nearest(label, classes)}"
    return Problem("bad_label", raw.where(int(raw.text.index[n])), detail)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + ", ..." * (len(names) > 20)


def label_columns(columns: Sequence[str], named: Mapping[str, Any], model: Target | None) -> list[str] | None:
    """Find the columns called like a model's classes, where a case may have several; a table may lack some."""
    if model is None or not model.several:
        return None
    want = named.get("label")
    if want is not None and isinstance(want, str):
        return None
    return [name for name in model.classes if name in columns] or None
