"""Patients from the headers of DICOM files, for data that name them nowhere else; as pseudonyms only.

A header takes a millisecond to read, which a million files at every start can't afford: so the pseudonym of a file
with its size and time is remembered beside the image cache, in a file for each key.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.dicom_files import dicom_files, is_dicom_file
from medtrain.io.image_form import SUFFIXES
from medtrain.io.pseudonym import pseudonym
from medtrain.io.stats import NO_FILE, absolute, stat_files
from medtrain.io.store.remembered import Remembered

OTHERS = tuple(
    suffix for suffix in (*SUFFIXES, ".nii", ".nii.gz") if suffix not in (".dcm", ".dicom")
)  # not worth opening


def header_patients(
    paths: Sequence[str | os.PathLike[str]], folder: Path, states: NDArray[np.int64] | None = None
) -> list[str | None]:
    """Give the pseudonym of each file's PatientID, of a folder's first DICOM file; None where there is none.

    Args:
        folder: the root of all caches.
        states: of the files, from `stat_files`, where they are known; `paths` are absolute then.
    """
    patients: list[str | None] = [None] * len(paths)
    rows = [n for n, path in enumerate(paths) if not str(path).lower().endswith(OTHERS)]
    if not rows:
        return patients
    files = absolute([paths[row] for row in rows]) if states is None else [str(paths[row]) for row in rows]
    state = stat_files(files) if states is None else states[rows]
    folders = np.flatnonzero(state[:, 0] == NO_FILE).tolist()
    series = {n: str(inside[0]) for n in folders if (inside := dicom_files(files[n]))}
    for n, first in series.items():
        files[n] = first
    if series:
        state = stat_files(files)
    memory = Remembered(folder / "patients" / f"{pseudonym('of the key itself')}.npy", 17)
    known = memory.recall(files, state)
    new = [n for n, patient in enumerate(known) if patient is None and state[n, 0] >= 0]
    for n in new:
        known[n] = _patient(files[n]) or ""
    if new:
        memory.add([files[n] for n in new], state[new], [known[n] or "" for n in new])
    for row, patient in zip(rows, known, strict=True):
        patients[row] = patient or None
    return patients


def _patient(path: str) -> str | None:
    if not is_dicom_file(path):
        return None
    from medtrain.io.dicom import read_patient_id  # late: most tables hold no DICOM

    identifier = read_patient_id(path)
    return pseudonym(identifier) if identifier else None
