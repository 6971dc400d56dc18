"""Which of a table's columns is which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.words import nearest
from medtrain.io.table import Listing, RawTable

Usual = Mapping[str, tuple[str, ...]]

USUAL: Usual = {
    "path": (
        *("path", "image", "image_path", "file", "filename", "image index"),
        *("image_id", "imageid", "image id", "image_name", "dicom_id", "patientid"),  # RSNA's are called by patients
    ),
    "label": ("label", "labels", "target", "class", "diagnosis", "finding labels"),
    "patient": ("patient", "patient_id", "patientid", "patient id", "subject", "subject_id"),
    "split": ("split",),
    "fold": ("fold",),
    "site": ("site", "hospital", "center", "centre", "institution"),
    "case": ("case", "case_id"),
}
MASK, SLIDE, TISSUE = "mask", "slide", "tissue"
BESIDE = {  # looked for where the option of data lists them
    MASK: ("mask", "mask_path", "segmentation", "seg"),
    "mpp": ("mpp", "slide_mpp", "um_per_px"),
    "magnification": ("magnification", "objective", "objective_power", "app_mag", "appmag"),
    TISSUE: ("tissue", "tissue_mask", "tissue_path"),
    SLIDE: ("slide_path", "slide_file", "wsi", "wsi_path"),
}
OF_TARGETS = {  # looked for where what is predicted is read from them
    "time": ("time", "time_to_event", "survival_time", "follow_up", "followup", "os_time", "os_months", "os_days"),
    "event": ("event", "event_observed", "status", "vital_status", "os_status", "os_event"),
}
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
    wanted_roles = dict(roles) | {role: names for role, names in BESIDE.items() if role in named}
    wanted_roles |= {role: names for role, names in OF_TARGETS.items() if role in needed}
    for role, usual in wanted_roles.items():
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
            faults += _contradicting(raw, chosen[role], role)
        if role in needed and chosen[role] is None and not missing:
            _refuse_headless(raw)
            faults.append(
                f"data.columns.{role}: {raw.file.name} has no column called {', '.join(usual[:4])} or the like"
            )
    if faults:
        only_masks = "label" in needed and not chosen.get("label") and chosen.get(MASK)
        masks = [f"the masks in {chosen[MASK]!r} are learned by task=volume_seg"] if only_masks else []
        raise UsageError("\n".join([*faults, *masks, f"its columns: {', '.join(columns[:30])}"]))
    return chosen


def spare(raw: RawTable, columns: Mapping[str, Any]) -> list[str]:
    """List the columns that have no role; `columns` as `find_columns` gives them. Listings have none."""
    of_roles = [[role] if isinstance(role, str) else role or [] for role in columns.values()]
    taken = [name for names in of_roles for name in names]
    return [] if isinstance(raw, Listing) else [name for name in map(str, raw.text.columns) if name not in taken]


def _bare(name: str) -> str:
    """Write a column's name without case and the number that pandas adds to a name that comes again."""
    return re.sub(r"\.\d+$", "", name.lower())


def _contradicting(raw: RawTable, column: Any, role: str) -> list[str]:
    """Find columns of the same name, but for case, that say something else."""
    others = [name for name in map(str, raw.text.columns) if column and name != column and _bare(name) == _bare(column)]
    return [_difference(raw, str(column), other, role) for other in others if _rows(raw, str(column), other)]


def _rows(raw: RawTable, one: str, other: str) -> list[int]:
    pairs = zip(raw.text.index, raw.known_names(one), raw.known_names(other), strict=True)
    return [int(row) for row, a, b in pairs if a != b]


def _difference(raw: RawTable, one: str, other: str, role: str) -> str:
    rows = _rows(raw, one, other)
    where = f"{len(rows):,} rows, first in {raw.where(rows[0])}"
    key = f"data.columns.{role}"
    return f"{key}: columns {one!r} and {other!r} differ in {where}: say {key}={one} or {key}={other}"


def rivals(raw: RawTable, columns: Mapping[str, Any], named: Mapping[str, Any]) -> list[Problem]:
    """Tell of columns that could have a role too, and say something else than the one that was found for it.

    Args:
        columns: of each role, as `find_columns` gives them.
        named: data.columns; what a person has named has no rival.
    """
    lower = {str(name).lower(): str(name) for name in reversed(list(raw.text.columns))}
    problems = []
    for role in ("label", "patient", "split", "fold", "site"):
        column = columns.get(role)
        if not isinstance(column, str) or named.get(role):
            continue
        for other in (lower[name] for name in USUAL[role] if name in lower and lower[name] != column):
            if rows := _rows(raw, column, other):
                detail = f"column {column!r} is the {role}; {other!r} differs in {len(rows):,} rows and is not used"
                more = f" (data.columns.{role}={other} takes it instead)"
                problems.append(Problem("other_column", raw.file.name, detail + more, "warning"))
    return problems


def _refuse_headless(raw: RawTable) -> None:
    if any(re.search(r"\.(png|jpe?g|tiff?|bmp|dcm)(\.\d+)?$", str(name), re.IGNORECASE) for name in raw.text.columns):
        raise DataError(
            f"{raw.file} has no header: its first line is {', '.join(map(str, raw.text.columns[:4]))}",
            advice="add a first line with the columns' names, such as path,label,patient",
        )
