"""The study of a search: Optuna's journal in the sweep's folder, for all who ask it, report to it or read it.

A step is appended before the next one begins, so whatever is killed, what was told is there. optuna-dashboard opens the
same file. Samplers and pruners are made here too, since both are the study's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.extras import extra

JOURNAL, STUDY = "study.journal", "medtrain"
WHO = "hydra/sweeper=optuna"
SAMPLERS = ("tpe", "random", "gp", "cmaes", "grid")
RANDOM_FIRST = {"tpe": 10, "gp": 10}  # trials before a sampler has anything to learn from
PRUNERS = ("none", "median", "hyperband")
STARTUP = 5  # trials of which the median is not yet worth judging others by
WORKER, UNTIL = "MEDTRAIN_WORKER", "MEDTRAIN_UNTIL"  # in a worker: its name; when no further trial is asked for
GRACE_S = 10  # after which the journal's lock is taken from a process that was killed with it


def open_study(folder: Path, modes: Sequence[str] | None = None) -> Any:
    """Open the study of a search; `modes` (max or min, one an objective) begin it where there is none.

    Raises:
        UsageError: it has other objectives.
    """
    optuna = extra("optuna", WHO)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal, file = optuna.storages.journal, str(folder / JOURNAL)
    lock = journal.JournalFileSymlinkLock(file, grace_period=GRACE_S)
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(file, lock_obj=lock))
    if modes is None:
        return optuna.load_study(storage=storage, study_name=STUDY)
    wanted = ["maximize" if mode == "max" else "minimize" for mode in modes]
    study = optuna.create_study(storage=storage, study_name=STUDY, directions=wanted, load_if_exists=True)
    if [direction.name.lower() for direction in study.directions] != wanted:
        raise UsageError(f"{file}: a search for other objectives; give another hydra.sweep.dir")
    return study


def mend(folder: Path) -> int:
    """Cut off what a full disk or a power cut has left half written; returns how many bytes that were."""
    file = folder / JOURNAL
    if not file.is_file() or not (text := file.read_bytes()) or text.endswith(b"\n"):
        return 0
    whole = text.rfind(b"\n") + 1
    with open(file, "r+b") as journal:
        journal.truncate(whole)
    return len(text) - whole


def make_sampler(name: str, choices: Mapping[str, Sequence[str]], seed: int, number: int, several: bool) -> Any:
    """Make the sampler of one trial: each has its own draws, so that none is repeated on going on.

    Args:
        seed: of the search.
        number: of the trial.
        choices: the values of each key, which a grid goes through.
        several: trials run at once, and those that have not ended count as bad ones (constant liar).
    """
    samplers = extra("optuna", WHO).samplers
    if name == "grid":  # whose order is shuffled by its seed
        return samplers.GridSampler({key: list(values) for key, values in choices.items()}, seed=seed % 2**31)
    seed = (seed * 100_003 + number) % 2**31
    if name == "tpe":
        return samplers.TPESampler(seed=seed, constant_liar=several, n_startup_trials=RANDOM_FIRST[name])
    if name == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=RANDOM_FIRST[name])
    return {"random": samplers.RandomSampler, "cmaes": samplers.CmaEsSampler}[name](seed=seed)


def make_pruner(name: str, epochs: int | None = None) -> Any:
    """Make a pruner.

    Args:
        epochs: the most that a trial has, by which hyperband lays its brackets; None leaves that to the first trials.
    """
    pruners = extra("optuna", WHO).pruners
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=STARTUP)
    if name == "hyperband":
        return pruners.HyperbandPruner(max_resource=epochs or "auto")
    return pruners.NopPruner()
