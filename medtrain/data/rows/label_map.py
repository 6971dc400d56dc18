"""`data.label_map`: what another hospital calls a class, in the words of ours.

``{Effusion: Pleural Effusion}`` reads: what the table calls Effusion is our Pleural Effusion. A map that can only be
meant the other way round, with our names in front, is taken so. A name that is known to neither side is refused: a
misspelt class would quietly become an unknown one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.words import suggest
from medtrain.data.rows.columns import USUAL
from medtrain.io.cells import without_decimals
from medtrain.io.table import RawTable
from medtrain.target import DataSpec
from medtrain.target.label_lists import BRACKETS, NO_CLASS, parts_of, separator_of
from medtrain.target.reading import Labels

Names = Sequence[str]


def renamed(
    raw: RawTable,
    named: Mapping[str, Any],
    wanted: Mapping[Any, Any] | None,
    classes: Names | None,
    spec: DataSpec | None,
) -> tuple[RawTable, dict[str, Any]]:
    """Give the table and its data.columns with the labels called as ours.

    Columns of labels are renamed, in a single column the values or the parts of ``A|B`` lists; other columns, and the
    table as typed (which data.filter asks and results show), stay as they are.

    Args:
        named: data.columns.
        wanted: data.label_map.
        classes: data.classes; None where any name will do.
        spec: of a trained model, whose classes count then.

    Raises:
        UsageError: names that stand neither in the table nor among the classes.
    """
    if not wanted or not len(raw.text):
        return raw, dict(named)
    pairs = {without_decimals(str(theirs)): without_decimals(str(ours)) for theirs, ours in wanted.items()}
    given = None if classes is None else [without_decimals(str(name)) for name in classes]
    ours = given if spec is None else spec.classes
    label, columns = named.get("label"), [str(name) for name in raw.text.columns]
    usual = next((name for name in columns if name.lower() in USUAL["label"]), None)
    if isinstance(label, list) or (label is None and _has_columns(spec, columns, [*pairs, *pairs.values()], usual)):
        return _renamed_columns(raw, named, directed(pairs, columns, ours, raw.file.name))
    column = label or usual
    if column not in columns:
        return raw, dict(named)  # find_columns will tell
    separator = separator_of({without_decimals(cell) for cell in raw.text[column].unique()}, column, ours)
    parts = {cell: parts_of(without_decimals(cell), separator) for cell in raw.text[column].unique()}
    there = sorted({part for listed in parts.values() for part in listed if part})
    to = directed(pairs, there, ours, raw.file.name)
    cells = {cell: _joined([to.get(part, part) for part in listed], separator) for cell, listed in parts.items()}
    return replace(raw, text=raw.text.assign(**{column: raw.text[column].map(cells)})), dict(named)


def _joined(parts: Names, separator: str | None) -> str:
    """Write labels of a cell so that they are read as what they are: names, or lists with bars or brackets."""
    parts = list(dict.fromkeys(parts))
    return json.dumps(parts, ensure_ascii=False) if separator == BRACKETS and parts else "|".join(parts)


def _has_columns(spec: DataSpec | None, columns: Names, mapped: Names, usual: str | None) -> bool:
    """Tell whether a table for this model has one column a class (`usual`: a single column of labels)."""
    if spec is None or not spec.target.several:
        return False
    return usual is None or bool({*mapped, *spec.classes} & set(columns))


def _renamed_columns(raw: RawTable, named: Mapping[str, Any], to: Mapping[str, str]) -> tuple[RawTable, dict[str, Any]]:
    text = raw.text.rename(columns=to)
    twice = sorted(set(text.columns[text.columns.duplicated()]))
    if twice:
        raise UsageError(f"data.label_map: {raw.file.name} would have several columns called {', '.join(twice)}")
    label = named.get("label")
    return replace(raw, text=text), {**named, **({"label": [to.get(str(n), n) for n in label]} if label else {})}


def directed(pairs: Mapping[str, str], there: Names, classes: Names | None, table: str) -> dict[str, str]:
    """Give {their name: our name}, whichever way the pairs were written, if only one makes sense.

    Args:
        there: the names that the table has.
        classes: ours; None: any.
        table: its name, for the message.
    """
    known = None if classes is None else {*classes, *(name for name in pairs.values() if name.lower() == NO_CLASS)}
    faults = _faults(pairs, there, known, table)
    turned = {ours: theirs for theirs, ours in pairs.items()}
    if faults and known is not None and len(turned) == len(pairs) and not _faults(turned, there, known, table):
        return turned
    if faults:
        raise UsageError("\n".join([*faults, "data.label_map wants {their name: our name}"]))
    return dict(pairs)


def _faults(pairs: Mapping[str, str], there: Names, classes: set[str] | None, table: str) -> list[str]:
    faults = [f"{name!r} is no label of {table}; {suggest(name, there)}" for name in pairs if name not in there]
    if classes is not None:
        ours = dict.fromkeys(name for name in pairs.values() if name not in classes)
        faults += [f"{name!r} is none of the classes; {suggest(name, classes)}" for name in ours]
    return [f"data.label_map: {fault}" for fault in faults]


def unlike_the_model(raw: RawTable, labels: Labels, skip: bool) -> list[Problem]:
    """Give warnings of what a table says otherwise than a trained model: classes it lacks, labels beyond them.

    Raises:
        DataError: labels that the model can't predict, or, of several labels an image, no label that it can.
    """
    file, classes, several = raw.file.name, labels.target.classes, labels.target.several
    beyond = ", ".join(f"{name!r} ({n} rows)" for name, n in sorted(labels.outside.items()))
    advice = f"its classes: {', '.join(classes)}; data.label_map={{THEIRS: OURS}} says what is called otherwise"
    if several and len(labels.lacking) == len(classes):
        raise DataError(f"{file} names none of the model's classes; it has {beyond or 'no finding'}", advice=advice)
    if beyond and not several and not skip:
        more = "; data.on_bad=skip leaves those rows out"
        raise DataError(f"{file} has labels that the model doesn't know: {beyond}", advice=advice + more)
    warnings = []
    if labels.lacking:
        text = f"{', '.join(labels.lacking)}: not in this table, so unknown: no metrics of these (see data.label_map)"
        warnings.append(Problem("class_lacking", file, text, "warning"))
    if beyond and several:
        text = f"labels that the model doesn't know count nowhere: {beyond} (see data.label_map)"
        warnings.append(Problem("label_beyond", file, text, "warning"))
    return warnings
