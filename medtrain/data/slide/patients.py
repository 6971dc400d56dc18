"""Slides put together by patient: one case, one label, one bag from all slides of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from medtrain.core.errors import Problem, UsageError
from medtrain.data.table.manifest import Manifest

Members = list[list[int]]  # of each case, positions in the manifest of slides


def by_patient(slides: Manifest) -> tuple[Manifest, Members]:
    """A manifest of patients, in the order of their first rows, and the slides of each.

    A patient whose slides differ in label, split, fold or site is listed in `bad`, with the rows.

    Raises:
        UsageError: nothing says which slides are of one patient.
    """
    if not slides.has_patients:
        raise UsageError("data.unit=patient needs to know patients: data.columns.patient or data.patient_pattern")
    number, _ = pd.factorize(np.array(slides.patient, dtype=object))
    members: Members = [[] for _ in range(int(number.max(initial=-1)) + 1)]
    for slide, patient in enumerate(number.tolist()):
        members[patient].append(slide)
    first = np.array([of[0] for of in members], np.int64)
    where = [_rows([slides.where[slide] for slide in of]) for of in members]
    bad = [(n, problem) for n, of in enumerate(members) for problem in _conflicts(slides, of)]
    broken = dict(slides.bad)
    bad += [(n, broken[slide]) for n, of in enumerate(members) for slide in of if slide in broken]
    chosen = np.zeros(len(slides), bool)
    chosen[first] = True
    patients = replace(
        slides,
        raw=slides.raw.select(chosen),
        where=where,
        case=[slides.patient[n] for n in first],
        patient=[slides.patient[n] for n in first],
        path=[slides.path[n] for n in first],
        split=None if slides.split is None else slides.split[first],
        fold=None if slides.fold is None else [slides.fold[n] for n in first],
        site=None if slides.site is None else [slides.site[n] for n in first],
        targets=slides.targets[first],
        states=None,
        bad=sorted(bad, key=lambda entry: entry[0]),
    )
    return patients, members


def _conflicts(slides: Manifest, of: list[int]) -> list[Problem]:
    columns: Mapping[str, object] = {"split": slides.split, "fold": slides.fold, "site": slides.site}
    found = []
    for slide in of[1:]:
        where, other = slides.where[slide], slides.where[of[0]]
        if not np.array_equal(slides.targets[slide], slides.targets[of[0]], equal_nan=True):
            said = f"another label than {other} for the same patient {slides.patient[slide]!r}"
            found.append(Problem("label_conflict", where, f"{said}; data.unit=slide keeps them apart"))
        for name, column in columns.items():
            if column is not None and column[slide] != column[of[0]]:  # type: ignore[index]
                said = f"another {name} than {other} for the same patient {slides.patient[slide]!r}"
                found.append(Problem(f"{name}_conflict", where, said))
    return found


def _rows(places: list[str]) -> str:
    """``table.csv row 2, row 5`` of the places of several slides."""
    file = places[0].rpartition(" row ")[0]
    return ", ".join([places[0], *(place.removeprefix(f"{file} ") for place in places[1:])])
