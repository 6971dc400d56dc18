"""Cases that a run was trained and tuned on, met again: its own data in another place, or a leak in other data.

A case is known by its content (`medtrain.io.content`). Names are local: two hospitals count their patients from 1, so
an equal name says something only where both sides mean the same patients by it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TUNED_ON = ("train", "val")


@dataclass(frozen=True)
class Met:
    """Which of some cases a run has used before, by row.

    Args:
        content_N: the same content.
        patient_N: another case of the same patient, where names mean the same on both sides.
        namesake_N: a patient of the same name, who may be another.
        unknown_N: a case of the same name, of a run that kept no content.
    """

    content_N: NDArray[np.bool_]
    patient_N: NDArray[np.bool_]
    namesake_N: NDArray[np.bool_]
    unknown_N: NDArray[np.bool_]


def meet(cases: pd.DataFrame, run: pd.DataFrame) -> Met:
    """Compare cases that are to be tested with all cases of a run.

    Args:
        cases: case, patient, content, perhaps site, as in `Data.split_table`.
        run: its splits.csv; those in train and val count.
    """
    used = run[run["split"].isin(TUNED_ON)]
    none = np.zeros(len(cases), bool)
    if not has_content(run):
        return Met(none, none, none, cases["case"].isin(used["case"]).to_numpy())
    content_N = _among(cases["content"], used["content"])
    named_N = _among(cases["patient"], used["patient"]) & (cases["patient"] != cases["case"]).to_numpy() & ~content_N
    if not _same_names(cases, run):
        shared = "site" in cases and "site" in run
        patient_N = named_N & _among(_at_site(cases), _at_site(used)) if shared else none
    else:
        patient_N = named_N
    return Met(content_N, patient_N, named_N & ~patient_N, none)


def has_content(run: pd.DataFrame) -> bool:
    """Tell whether the run knows what its cases are; those of 0.1 don't."""
    return "content" in run and bool((run["content"] != "").any())


def recognised(cases: pd.DataFrame, run: pd.DataFrame, table_left_out: int) -> pd.DataFrame | None:
    """Find a run's own data by content: all cases of its splits.csv under the names that they have in `cases`.

    Args:
        cases: as of `Data.split_table`.
        run: its splits.csv, all text.
        table_left_out: cases that the run's table held besides, and that it did not use since they leaked.

    Returns:
        `run` with the names of `cases`; None where the data are others, or more, or not all.
    """
    if not has_content(run) or (run["content"] == "").any():
        return None
    theirs, here = Counter(run["content"]), Counter(cases["content"])
    if theirs - here or (here - theirs).total() > table_left_out:
        return None
    waiting: dict[str, list[str]] = defaultdict(list)
    for case, content in zip(cases["case"], cases["content"], strict=True):
        waiting[content].append(case)
    names = [""] * len(run)
    pairs = list(enumerate(zip(run["case"], run["content"], strict=True)))
    for n, (case, content) in pairs:  # of equal ones, those go together that are called the same
        if case in waiting[content]:
            waiting[content].remove(case)
            names[n] = case
    for n, (_, content) in pairs:
        names[n] = names[n] or waiting[content].pop(0)
    return run.assign(case=names)


def _among(values: pd.Series, known: pd.Series) -> NDArray[np.bool_]:
    return np.asarray(values.isin(set(known) - {""}), bool)


def _at_site(cases: pd.DataFrame) -> pd.Series:
    """Give patients with their site; '' where no site is named."""
    joined = cases["site"] + "\t" + cases["patient"]
    return joined.where(cases["site"] != "", "")


def _same_names(cases: pd.DataFrame, run: pd.DataFrame) -> bool:
    """Tell whether both sides call the patient of any common case by the same name, not just the case's own."""
    known = set(zip(run["content"], run["patient"], strict=True))
    named = cases[(cases["patient"] != cases["case"]) & (cases["content"] != "")]
    return any(pair in known for pair in zip(named["content"], named["patient"], strict=True))
