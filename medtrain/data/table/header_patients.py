"""Patients from the headers of DICOM files, for data that name them nowhere else; as pseudonyms only.

A header takes a millisecond to read, which a million files at every start can't afford: so the pseudonym of a file
with its size and time is remembered beside the image cache, in a file for each key.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.io.dicom import is_dicom_file, read_patient_id
from medtrain.io.files import atomic_path
from medtrain.io.image import SUFFIXES
from medtrain.io.image_store import path_hashes
from medtrain.io.pseudonym import pseudonym
from medtrain.io.stats import absolute, stat_files

OTHERS = tuple(suffix for suffix in SUFFIXES if suffix not in (".dcm", ".dicom"))  # not worth opening
RECORD = np.dtype([("path", "<u8", 2), ("size", "<i8"), ("mtime", "<i8"), ("patient", "S17")])


def header_patients(
    paths: Sequence[str | os.PathLike[str]], folder: Path, states: NDArray[np.int64] | None = None
) -> list[str | None]:
    """The pseudonym of each file's PatientID; None where it is no DICOM file or names nobody.

    Args:
        folder: the root of all caches.
        states: of the files, from `stat_files`, where they are known; `paths` are absolute then.
    """
    found: list[str | None] = [None] * len(paths)
    rows = np.array([n for n, path in enumerate(paths) if not str(path).lower().endswith(OTHERS)], np.int64)
    if not len(rows):
        return found
    files = [str(paths[row]) for row in rows]
    if states is None:
        files = absolute(files)
    wanted = np.zeros(len(rows), RECORD)
    wanted["path"] = path_hashes(files)
    wanted["size"], wanted["mtime"] = (stat_files(files) if states is None else states[rows]).T
    memory = folder / "patients" / f"{pseudonym('of the key itself')}.npy"
    known = _load(memory)
    new = np.flatnonzero(~_recall(wanted, known) & (wanted["size"] >= 0))
    for n in new:
        wanted["patient"][n] = (_patient(files[n]) or "").encode()
    if len(new):
        kept = known[~np.isin(known["path"][:, 0], wanted["path"][new, 0])]
        with suppress(OSError), atomic_path(memory) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate([kept, wanted[new]]))
    for row, patient in zip(rows.tolist(), wanted["patient"].tolist(), strict=True):
        found[row] = patient.decode() or None
    return found


def _load(memory: Path) -> NDArray[np.void]:
    try:
        known: NDArray[np.void] = np.load(memory)
    except (OSError, ValueError, EOFError):
        return np.empty(0, RECORD)
    return known if known.dtype == RECORD else np.empty(0, RECORD)


def _recall(wanted: NDArray[np.void], known: NDArray[np.void]) -> NDArray[np.bool_]:
    """Fill in the patients of files that are as they were; which these are."""
    if not len(known):
        return np.zeros(len(wanted), bool)
    order = np.argsort(known["path"][:, 0], kind="stable")
    at = np.searchsorted(known["path"][order, 0], wanted["path"][:, 0])
    there = known[order[np.minimum(at, len(order) - 1)]]
    same = (there["path"] == wanted["path"]).all(1)
    same &= (there["size"] == wanted["size"]) & (there["mtime"] == wanted["mtime"])
    wanted["patient"][same] = there["patient"][same]
    return np.asarray(same)


def _patient(path: str) -> str | None:
    if not is_dicom_file(path):
        return None
    identifier = read_patient_id(path)
    return pseudonym(identifier) if identifier else None
