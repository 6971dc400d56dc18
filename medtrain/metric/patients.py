"""One value a patient: a patient's cases put together, for those who treat patients and not images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtrain.metric.bootstrap import Array, patient_index

Rule = Literal["mean", "max"]
WORDS = {
    "mean": "the mean of the probabilities of a patient's cases",
    "max": "the highest probability of any of a patient's cases",
}


@dataclass(frozen=True)
class Together:
    """Cases put together by patient, patients in the order of their names.

    Args:
        probs_PC, target_PC: as of cases; NaN where a label is unknown.
        first_P: the number of each patient's first case.
        cases_P: how many cases each has.
        mixed: patients of several exclusive classes, whose class is unknown.
    """

    probs_PC: Array
    target_PC: Array
    first_P: Array
    cases_P: Array
    mixed: int


def by_patient(
    probs_NC: Array, target_NC: Array, patients: Array, rule: Rule, looked_for: Array, exclusive: bool
) -> Together:
    """Put the cases of each patient together.

    Probabilities of classes that are looked for are the mean or the highest of the patient's cases; those of two
    exclusive classes or more then are made to add up to one (of two, the other one gives way). A patient has a class
    that is looked for if any of the cases has it, and lacks it if all are known to; of more exclusive classes than two
    the patient has the one of all cases, else it is unknown.

    Args:
        patients: the patient of each case.
        looked_for: (C,) bool, the classes that one looks for: the positive one of two, else all.
    """
    patient_N, n_patients = patient_index(patients, len(probs_NC))
    cases_P = np.bincount(patient_N, minlength=n_patients)
    order = np.argsort(patient_N, kind="stable")
    starts = np.cumsum(cases_P) - cases_P
    probs, target = probs_NC[order], target_NC[order]
    together = (
        np.add.reduceat(probs, starts) / cases_P[:, None] if rule == "mean" else np.maximum.reduceat(probs, starts)
    )
    has_PC, lacks_PC = np.logical_or.reduceat(target == 1, starts), np.logical_and.reduceat(target == 0, starts)
    target_PC = np.where(has_PC, 1.0, np.where(lacks_PC, 0.0, np.nan))
    mixed = 0
    if exclusive and looked_for.all():
        several = has_PC.sum(axis=1) > 1
        unknown = np.logical_or.reduceat(~np.isfinite(target).all(axis=1), starts)
        target_PC[several | unknown] = np.nan
        mixed = int(several.sum())
    elif exclusive:
        positive = target_PC[:, looked_for]
        target_PC = np.where(looked_for, positive, 1 - positive)
    if exclusive:
        if not looked_for.all():
            together = np.where(looked_for, together, 1 - together[:, looked_for])
        together = together / together.sum(axis=1, keepdims=True)
    return Together(together, target_PC, order[starts], cases_P, mixed)
