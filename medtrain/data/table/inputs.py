"""What to predict, listed: a file, a folder or a table without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medtrain.core.errors import DataError, UsageError
from medtrain.data.table.header_patients import header_patients
from medtrain.data.table.manifest import Manifest, match_patient, read_inputs
from medtrain.io.cache_root import cache_root

TABLES = (".csv", ".tsv", ".txt")


def list_inputs(
    path: Path, cfg: Mapping[str, Any], find: Callable[[Path], list[Path]], what: str, folders: bool = False
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """A row a case (case, patient, path), and further files of each, as `Manifest.beside` has them.

    Args:
        cfg: the run's data node (columns, patient_pattern, cache_dir).
        find: the cases in a folder and below, sorted.
        what: they are, in a message.
        folders: a case may be a folder.

    Raises:
        UsageError: the path is not there. DataError: it holds no cases.
    """
    if not path.exists():
        raise UsageError(f"input={path}: no such file or folder")
    if path.is_file() and path.suffix.lower() in TABLES:
        table: Manifest = read_inputs(path, cfg, folders)
        return pd.DataFrame({"case": table.case, "patient": table.patient, "path": table.path}), table.beside
    if path.is_file():
        files, names = [path], [path.name]
    else:
        files = find(path)
        names = [file.relative_to(path).as_posix() if file != path else path.absolute().name for file in files]
    if not files:
        raise DataError(f"input={path} holds no {what}")
    pattern = cfg.get("patient_pattern")
    if pattern:
        found = [match_patient(str(pattern), name) for name in names]
    else:
        found = header_patients(files, cache_root(cfg.get("cache_dir")))
    patients = [patient or name for patient, name in zip(found, names, strict=True)]
    paths = [str(file.absolute()) for file in files]
    return pd.DataFrame({"case": names, "patient": patients, "path": paths}), {}
