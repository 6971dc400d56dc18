"""Patients from the headers of DICOM files, for data that name them nowhere else; as pseudonyms only."""

from __future__ import annotations

import os
from collections.abc import Sequence

from medtrain.io.dicom import is_dicom_file, read_patient_id
from medtrain.io.image import SUFFIXES
from medtrain.io.pseudonym import pseudonym

OTHERS = tuple(suffix for suffix in SUFFIXES if suffix not in (".dcm", ".dicom"))  # not worth opening


def header_patients(paths: Sequence[str | os.PathLike[str]]) -> list[str | None]:
    """The pseudonym of each file's PatientID; None where it is no DICOM file or names nobody."""
    return [_patient(path) for path in paths]


def _patient(path: str | os.PathLike[str]) -> str | None:
    if str(path).lower().endswith(OTHERS) or not is_dicom_file(path):
        return None
    identifier = read_patient_id(path)
    return pseudonym(identifier) if identifier else None
