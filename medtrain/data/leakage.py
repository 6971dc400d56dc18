"""The same patient, or the same picture, on both sides of a split: results that look better than they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.data.split import SPLITS


def leaks(
    patient_N: NDArray[Any],
    content_N: NDArray[Any],
    split_N: NDArray[np.str_],
    where_N: Sequence[str],
    severity: str = "error",
) -> list[Problem]:
    """Give a problem for each patient (``patient_leak``) and each content (``duplicate``) that stands in two splits.

    Args:
        content_N: the same number for cases with the same content (`medtrain.io.content`).
        where_N: file and row of each case, for the message.
    """
    problems = []
    for rows in straddling(patient_N, split_N):
        counts = [f"{name} ({(split_N[rows] == name).sum()} files)" for name in SPLITS if name in split_N[rows]]
        name = f"patient {patient_N[rows[0]]}"
        problems.append(
            Problem("patient_leak", name, f"stands in {' and '.join(counts)}, first in {where_N[rows[0]]}", severity)
        )
    for rows in straddling(content_N, split_N):
        others = ", ".join(f"{where_N[row]} ({split_N[row]})" for row in rows[1:4]) + ", ..." * (len(rows) > 4)
        problems.append(
            Problem("duplicate", where_N[rows[0]], f"({split_N[rows[0]]}) the same content as {others}", severity)
        )
    return problems


def alike_leaks(
    alike_N: NDArray[Any], patient_N: NDArray[Any], split_N: NDArray[np.str_], where_N: Sequence[str]
) -> list[Problem]:
    """Warn of patients who may be one, as `alike_N` names them, and stand in two splits under different names."""
    problems = []
    for rows in straddling(alike_N, split_N):
        names = dict.fromkeys(patient_N[rows].tolist())
        if len(names) > 1:
            detail = f"stand in {' and '.join(dict.fromkeys(split_N[rows].tolist()))}: if they are one, it is a leak"
            where = f"patients {' and '.join(map(repr, names))}, first in {where_N[rows[0]]}"
            problems.append(Problem("patient_leak", where, detail, "warning"))
    return problems


def twins(
    content_N: NDArray[Any], split_N: NDArray[np.str_], targets_NC: NDArray[np.float64], where_N: Sequence[str]
) -> list[tuple[Problem, NDArray[np.int64]]]:
    """Find equal contents within a split (``duplicate``), and with different labels (``label_conflict``).

    Equal contents in two splits are a leak, see `leaks`.

    Args:
        content_N: the same number for cases with the same content.
        targets_NC: indicators, NaN unknown (`medtrain.target.Target.indicators`).
        where_N: file and row of each case.

    Returns:
        (problem, positions of the cases) for each group.
    """
    problems = []
    for rows in repeated(content_N):
        named, also = where_N[rows[0]], others(where_N, rows)
        if len(set(split_N[rows])) == 1:
            problems.append((Problem("duplicate", named, f"the same content as {also}", "warning"), rows))
        if disagree(targets_NC[rows]):
            problems.append((Problem("label_conflict", named, f"the same content as {also}, but another label"), rows))
    return problems


def disagree(targets: NDArray[np.float64]) -> bool:
    """Tell whether one row says yes to a class where another says no; unknown labels contradict nothing."""
    return bool(((targets == 1).any(0) & (targets == 0).any(0)).any())


def repeated(number: NDArray[Any]) -> list[NDArray[np.int64]]:
    """List the positions of each number that occurs more than once, in order of their first."""
    rows = np.flatnonzero(pd.Series(number).duplicated(keep=False).to_numpy())
    groups = pd.Series(rows).groupby(np.asarray(number)[rows], sort=False)
    return [part.to_numpy() for _, part in groups]


def others(places: Sequence[str], rows: NDArray[np.int64], most: int = 3) -> str:
    """Name the places of all rows but the first."""
    return ", ".join(places[row] for row in rows[1 : most + 1]) + ", ..." * (len(rows) > most + 1)


def leaked(patient_N: NDArray[Any], content_N: NDArray[Any], split_N: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Mark what data.leakage=drop takes out: of train what stands in val or test too, of val what stands in test."""
    out = np.zeros(len(split_N), bool)
    for key_N in (patient_N, content_N):
        for rows in straddling(key_N, split_N):
            last = max(SPLITS.index(name) for name in split_N[rows])
            out[[row for row in rows if SPLITS.index(split_N[row]) < last]] = True
    return out


def straddling(key_N: NDArray[Any], split_N: NDArray[np.str_]) -> list[NDArray[np.int64]]:
    """Give the rows of each key that stands in two splits, in the order of their first rows."""
    key_N, parts_N = pd.factorize(np.asarray(key_N))[0], pd.factorize(np.asarray(split_N))[0]
    one_K = np.full(key_N.max(initial=-1) + 1, -1)
    one_K[key_N] = parts_N  # any of its splits: it straddles where another differs
    astray_K = np.zeros(len(one_K), bool)
    astray_K[key_N[parts_N != one_K[key_N]]] = True
    rows = np.flatnonzero(astray_K[key_N])
    groups = pd.Series(rows).groupby(key_N[rows]).groups
    return sorted((rows[np.asarray(members)] for members in groups.values()), key=lambda group: int(group[0]))
