"""What to predict, listed: a file, a folder or a table without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.rows.header_patients import header_patients
from medtrain.data.rows.manifest import Manifest, read_inputs
from medtrain.data.rows.passed_over import junk_folder, passed_by, told_barren, told_passed
from medtrain.data.rows.people import match_patient
from medtrain.io.cache_root import cache_root
from medtrain.io.table import Listing, RawTable, read_table
from medtrain.io.table_files import is_table_name

Parts = Callable[[Sequence[Path]], Mapping[Path, Sequence[Path]]]
Arrange = Callable[[RawTable, Mapping[str, Any]], tuple[RawTable, Mapping[str, Any]]]


def is_table(path: Path) -> bool:
    """Tell whether inputs are listed in this file."""
    return path.is_file() and is_table_name(path)


def list_inputs(
    path: Path,
    cfg: Mapping[str, Any],
    find: Callable[[Path], list[Path]],
    what: str,
    *,
    folders: bool = False,
    parts: Parts = lambda files: {},
    arrange: Arrange = lambda raw, cfg: (raw, cfg),
) -> Manifest:
    """List a row a case, without labels.

    Args:
        cfg: the run's data node (columns, patient_pattern, cache_dir).
        find: the cases in a folder and below, sorted.
        what: they are, in a message.
        folders: a case may be a folder.
        parts: of files that are one case together, the one that stands for it and the others.
        arrange: says of a table and the data node which columns count.

    Raises:
        UsageError: the path is not there. DataError: it holds no cases.
    """
    refuse_nowhere(path)
    if is_table(path):
        return read_inputs(*arrange(read_table(path, "input"), {**cfg, "root": None}), folders)
    if path.is_file():
        files, names = [path], [path.name]
    else:
        files = [file for file in find(path) if not junk_folder(file.relative_to(path))]
        names = [file.relative_to(path).as_posix() if file != path else path.absolute().name for file in files]
    if not files:
        raise DataError(f"input={path} holds no {what}")
    together = parts(files) if path.is_dir() else {}
    others = {other for of_case in together.values() for other in of_case}
    names = [name for name, file in zip(names, files, strict=True) if file not in others]
    files = [file for file in files if file not in others]
    pattern = cfg.get("patient_pattern")
    if pattern:
        patients = [match_patient(str(pattern), name) for name in names]
    else:
        patients = header_patients(files, cache_root(cfg.get("cache_dir")))
    manifest = unlabelled(path, names, [str(file.absolute()) for file in files], patients)
    if path.is_dir():
        if together:
            count = f"{len(together) + len(others):,} files are {len(together):,} {what.partition(' (')[0]}"
            detail = f"{count} of several files each: levels, labels, parts"
            manifest.warnings.append(Problem("together", path.absolute().name, detail, "warning"))
        kind, seen = what.partition(" (")[0], [*files, *others]
        manifest.warnings += told_passed(passed_by(path, seen), path.absolute().name, kind)
        manifest.warnings += told_barren(path, seen, kind)
    return manifest


def refuse_nowhere(path: Path) -> None:
    """Refuse an input that is not there (UsageError)."""
    if not path.exists():
        raise UsageError(f"input={path}: no such file or folder")


def unlabelled(
    origin: Path, names: list[str], paths: list[str], patients: Sequence[str | None], content: Any = None
) -> Manifest:
    """Make the rows of cases that stand in no table; where a patient is unknown, a case is its own."""
    return Manifest(
        Listing.of(origin, {"path": paths}, names),
        names,
        names,
        path=paths,
        patient=[patient or name for patient, name in zip(patients, names, strict=True)],
        has_patients=all(patients),
        content=content,
    )
