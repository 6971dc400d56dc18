"""Find the run folders that a command means: folders, sweeps, patterns, in the order in which they were given."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from medtrain.core.errors import UsageError
from medtrain.io import record

RESULTS = (record.FILE, "test_metrics.json")  # a folder that holds one of these is a run, or a test of one


def run_folders(runs: str | Sequence[str], scores: bool = False) -> list[Path]:
    """Find the run folders that `runs` names, each once.

    Args:
        runs: a folder (a run, a test of a run, or a sweep: all jobs in the order of their numbers), a pattern such as
            ``outputs/xray_cls/*``, several of these after commas, or a list of them.
        scores: a file of scores (see `is_scores`) may stand for a run.

    Raises:
        UsageError: nothing there.
    """
    words = [runs] if isinstance(runs, str) and os.path.exists(runs) else runs
    words = words.split(",") if isinstance(words, str) else words
    folders = [folder for word in words if str(word).strip() for folder in _folders(str(word).strip(), scores)]
    return list({folder.resolve(): folder for folder in folders}.values())


def _folders(word: str, scores: bool) -> list[Path]:
    place = Path(word).expanduser()
    if is_run(place) or (scores and is_scores(place)):
        return [place]
    if place.is_dir():
        jobs = in_order(path for path in place.iterdir() if is_run(path))
        if not jobs:
            raise UsageError(
                f"{word}: neither a run nor a sweep (no {' or '.join(RESULTS)}, not in its folders either)"
            )
        return jobs
    matches = in_order(path for path in map(Path, glob.glob(str(place))) if is_run(path))
    if not matches:
        raise UsageError(f"{word}: no such run; give the folder that a training printed, such as outputs/xray_cls/...")
    return matches


def is_run(folder: Path) -> bool:
    """Tell whether the folder holds a run, or a test of one."""
    return any((folder / name).is_file() for name in RESULTS)


def is_scores(path: Path) -> bool:
    """Tell whether it names a file of scores from elsewhere, rather than a run."""
    return path.suffix.lower() == ".csv"


def in_order(folders: Iterable[Path]) -> list[Path]:
    """Sort by name, numbers by value: job 2 comes before job 10."""
    return sorted(folders, key=_natural)


def _natural(folder: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(folder))]
