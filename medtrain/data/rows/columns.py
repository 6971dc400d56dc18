"""Which of a table's columns is which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.core.errors import DataError, UsageError
from medtrain.core.words import nearest
from medtrain.io.table import RawTable

Usual = Mapping[str, tuple[str, ...]]

USUAL: Usual = {
    "path": ("path", "image", "image_path", "file", "filename", "image index"),
    "label": ("label", "labels", "target", "class", "diagnosis", "finding labels"),
    "patient": ("patient", "patient_id", "patientid", "patient id", "subject", "subject_id"),
    "split": ("split",),
    "fold": ("fold",),
    "site": ("site", "hospital", "center", "centre", "institution"),
    "case": ("case", "case_id"),
}
MASK = "mask"
BESIDE = {MASK: ("mask", "mask_path", "segmentation", "seg")}  # looked for where the option of data lists them
IGNORED = "none"  # data.columns.split=none: don't use the column that would be found


def find_columns(
    raw: RawTable, named: Mapping[str, Any], needed: Sequence[str], lenient: bool = False, roles: Usual = USUAL
) -> dict[str, str | list[str] | None]:
    """Give the column (or list of label columns) of each role, None where there is none.

    Args:
        named: data.columns; null is found by its usual names, ``none`` is not looked for.
        needed: roles that must be there.
        lenient: a named column that is missing is then looked for by its usual names.
        roles: {role: the usual names of its column}.

    Raises:
        UsageError: with all columns that are missing.
        DataError: the table seems to have no header.
    """
    columns = [str(name) for name in raw.text.columns]
    lower = {name.lower(): name for name in reversed(columns)}
    chosen: dict[str, str | list[str] | None] = {}
    faults = []
    for role, usual in (dict(roles) | {role: names for role, names in BESIDE.items() if role in named}).items():
        want = named.get(role)
        if isinstance(want, str) and want.lower() == IGNORED:
            chosen[role] = None
            continue
        wanted = [want] if isinstance(want, str | int) else list(want or [])
        missing = [str(name) for name in wanted if str(name) not in columns]
        if wanted and not missing:
            chosen[role] = (
                [str(name) for name in wanted]
                if isinstance(want, Sequence) and not isinstance(want, str)
                else str(want)
            )
        elif missing and not lenient:
            where = f"data.columns.{role}: {raw.file.name}"
            faults += [f"{where} has no column {name!r}{nearest(name, columns)}" for name in missing]
            chosen[role] = None
        else:
            chosen[role] = next((lower[name] for name in usual if name in lower), None)
        if role in needed and chosen[role] is None and not missing:
            _refuse_headless(raw)
            faults.append(
                f"data.columns.{role}: {raw.file.name} has no column called {', '.join(usual[:4])} or the like"
            )
    if faults:
        raise UsageError("\n".join([*faults, f"its columns: {', '.join(columns[:30])}"]))
    return chosen


def _refuse_headless(raw: RawTable) -> None:
    if any(re.search(r"\.(png|jpe?g|tiff?|bmp|dcm)(\.\d+)?$", str(name), re.IGNORECASE) for name in raw.text.columns):
        raise DataError(
            f"{raw.file} has no header: its first line is {', '.join(map(str, raw.text.columns[:4]))}",
            advice="add a first line with the columns' names, such as path,label,patient",
        )
