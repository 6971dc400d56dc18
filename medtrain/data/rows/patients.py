"""Slides put together by patient: one case, one label, one bag from all slides of a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import Problem, UsageError
from medtrain.data.rows.manifest import Manifest

Members = list[list[int]]  # of each case, positions in the manifest of slides


def by_patient(slides: Manifest, beside: Sequence[str] = ()) -> tuple[Manifest, Members]:
    """Make a manifest of patients, in the order of their first rows, and list the slides of each.

    A patient whose slides differ in label, split, fold, site or a column beside them is listed in `bad`, with the rows.

    Args:
        beside: names of such columns (`data.covariates`).

    Raises:
        UsageError: nothing says which slides of a labelled table are of one patient.
    """
    if not slides.has_patients and slides.target is not None:
        raise UsageError("data.unit=patient needs to know patients: data.columns.patient or data.patient_pattern")
    there = [name for name in beside if name in slides.raw.text.columns]
    columns = {name: slides.raw.known_names(name) for name in there}
    number, _ = pd.factorize(np.array(slides.patient, dtype=object))
    members: Members = [[] for _ in range(int(number.max(initial=-1)) + 1)]
    for slide, patient in enumerate(number.tolist()):
        members[patient].append(slide)
    first = np.array([of[0] for of in members], np.int64)
    where = [_rows([slides.where[slide] for slide in of]) for of in members]
    bad = [(n, problem) for n, of in enumerate(members) for problem in _conflicts(slides, of, columns)]
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
        targets=slides.targets[first] if slides.target is not None else slides.targets,
        masks=None,
        slides=None,
        tissue=None,
        mpp=None,
        states=None,
        bad=sorted(bad, key=lambda entry: entry[0]),
    )
    return patients, members


def _conflicts(slides: Manifest, of: list[int], beside: Mapping[str, list[str]]) -> list[Problem]:
    """Find in what the slides of a patient differ that must be the same."""
    columns: list[tuple[str, Any]] = [("split", slides.split), ("fold", slides.fold), ("site", slides.site)]
    columns += beside.items()
    if slides.target is not None:
        columns.insert(0, ("label", slides.targets))
    problems = []
    for slide in of[1:]:
        for name, column in columns:
            if column is None or np.array_equal(column[slide], column[of[0]], equal_nan=name == "label"):
                continue
            detail = f"another {name} than {slides.where[of[0]]} for the same patient {slides.patient[slide]!r}"
            detail += "; data.unit=slide keeps them apart" * (name == "label")
            problems.append(Problem(f"{name}_conflict", slides.where[slide], detail))
    return problems


def _rows(places: list[str]) -> str:
    """Write ``table.csv row 2, row 5`` of the places of several slides."""
    file = places[0].rpartition(" row ")[0]
    return ", ".join([places[0], *(place.removeprefix(f"{file} ") for place in places[1:])])
