"""A run's own data: are they still what it was split by, are these others, and do others hold what it has learned?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import DictConfig

from medtrain.command import build
from medtrain.config.saved import load_saved
from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.data.base import Data, Fixed
from medtrain.data.changes import changes, in_words, read_splits
from medtrain.data.source import path_keys
from medtrain.data.used import has_content, meet, recognised
from medtrain.io import record
from medtrain.target import DataSpec

SPLITS, TRAINED_ON = "splits.csv", "trained_on.csv"  # the latter of an ensemble whose members learned different cases
PUT_BACK = "put the data back as they were"
TO_GO_ON = f"{PUT_BACK} and go on with resume={{run}}, or start anew (init_from={{run}} keeps its weights)"
TO_TEST = f"{PUT_BACK}; to test against other labels on purpose, give them as another table (data.table=COPY)"
ADVICE = "data.leakage=drop leaves them out, data.leakage=warn only tells of them"


@dataclass(frozen=True)
class Tested:
    """Prepared data that a run is to be tested on.

    Args:
        own: are they the run's own, in the splits that it was trained with?
        moved: its own, but not where they were.
    """

    data: Data
    own: bool
    moved: bool = False


def refuse_changed(run: Path, data: Data, advice: str) -> None:
    """Compare prepared data with what the run in the folder `run` has written of its own.

    Args:
        advice: what to do, with ``{run}`` for the folder.

    Raises:
        DataError: they have changed, with what of which cases.
    """
    if problems := _changed(run, data, _splits(run)):
        summary = f"the data have changed since {run} began: {in_words(problems)}"
        raise DataError(summary, problems, advice.format(run=run))


def tested_data(cfg: DictConfig, run: Path, spec: DataSpec) -> Tested:
    """Prepare what a run is to be tested on: its own data in its exact splits, wherever they lie now, or others.

    Other data count whole, unless they bring a split of their own.

    Raises:
        UsageError: the run's own data can't be tested.
        DataError: they have changed, or others hold cases that the run has learned (as data.leakage has it).
    """
    if is_same_place(cfg, run):
        tested = Tested(_prepared(cfg, Fixed(spec, splits=_testable(run))), own=True)
        refuse_changed(run, tested.data, TO_TEST)
    else:
        data = _prepared(cfg, Fixed(spec, all_test=True))
        known = _own_elsewhere(run, data)
        if known is None:
            tested = Tested(data, own=False)
        else:
            _testable(run)
            tested = Tested(_prepared(cfg, Fixed(spec, splits=known), report=_silent), own=True, moved=True)
            _tell_moved(run, tested.data, known, cfg.eval.split)
    return _without_leaks(cfg, run, spec, tested)


def refuse_leaking_gate(cfg: DictConfig, data: Data) -> None:
    """Refuse, before a training, a gate (eval.gate) that has learned what is tested in the end.

    Raises:
        DataError: it has, unless data.leakage=warn.
    """
    if not cfg.eval.get("gate"):
        return
    table = _named(data)
    if _leaking(cfg, table[table["split"] == "test"], Path(cfg.eval.gate), "eval.gate").any():  # data.leakage=drop
        raise DataError(
            f"eval.gate={cfg.eval.gate} was trained on images of this test split, which data.leakage=drop can't leave "
            "out: train the gate and the detector by one split, or take data.leakage=warn"
        )


def is_same_place(cfg: DictConfig, run: Path) -> bool:
    """Tell whether the data node names the files that the run was trained on."""
    saved, now = build.plain(load_saved(run).data), build.plain(cfg.data)
    same = ("name", *(key.name for key in path_keys(cfg.data.name)), "filter", "phantom_seed", "patients")
    return all(saved.get(key) == now.get(key) for key in same)


def _named(data: Data) -> pd.DataFrame:
    """List the cases of data; names of made-up patients mean nobody, so there each case is a patient of its own."""
    table = data.split_table().reset_index(drop=True)
    return table.assign(patient=table["case"]) if data.synthetic else table


def _prepared(cfg: DictConfig, fixed: Fixed, **more: Any) -> Data:
    data: Data = build.data(cfg, fixed=fixed, **more)
    data.prepare()
    return data


def _silent(text: str) -> None:
    """For data that are read a second time: what there is to tell has been told."""


def _splits(run: Path) -> pd.DataFrame:
    file = run / SPLITS
    if not file.is_file():
        raise UsageError(f"run={run}: it has no {SPLITS}, so its test split is not known")
    return read_splits(file)


def _testable(run: Path) -> pd.DataFrame:
    """The splits of a run whose test split it has not learned itself."""
    if "folds" in record.read(run).get("fingerprints", {}) and load_saved(run).verb == "ensemble":
        raise UsageError(
            f"run={run}: each of these cases has trained some of its members; what the others say of it is in "
            "test_metrics.json. Test it on other data: data=... data.table=..."
        )
    return _splits(run)


def _changed(run: Path, data: Data, before: pd.DataFrame) -> list[Problem]:
    fields = record.read(run)
    problems = changes(data, before, (fields.get("fingerprints") or {}).get("table"))
    then = (fields.get("spec") or {}).get("classes")
    if then is not None and list(then) != list(data.spec.classes):
        detail = f"{', '.join(data.spec.classes)}, in the run {', '.join(then)}"
        problems.append(Problem("classes_changed", "classes", detail))
    return problems


def _own_elsewhere(run: Path, data: Data) -> pd.DataFrame | None:
    """The run's splits under the names that its cases have in these data; None if they are no data of the run.

    A run of 0.1 knows its cases by their names and by one fingerprint of names, patients and labels.
    """
    before, fields = _splits(run), record.read(run)
    if has_content(before):
        return recognised(data.split_table(), before, int((fields.get("excluded") or {}).get("leaking", 0)))
    patient = dict(zip(before["case"], before["patient"], strict=True))
    if patient.keys() != set(data.cases["case"]):
        return None
    same = data.table_digest([patient[case] for case in data.cases["case"]])
    return before if same == (fields.get("fingerprints") or {}).get("table") else None


def _tell_moved(run: Path, data: Data, known: pd.DataFrame, split: str) -> None:
    """Say that these are the run's own data, and what of them has changed."""
    sizes = data.cases["split"].value_counts()
    by = "content" if has_content(known) else "names and labels"
    build.say(
        f"these are the {len(data.cases):,} cases of {run}, by their {by}: its {split} split is tested "
        f"({sizes.get(split, 0):,} cases)"
    )
    if problems := _changed(run, data, known):
        build.warn(str(DataError(f"they have changed since the run: {in_words(problems)}", problems)))


def _without_leaks(cfg: DictConfig, run: Path, spec: DataSpec, tested: Tested) -> Tested:
    """Judge what is tested against what the run, unless it is its own split, and the gate have learned."""
    table = _named(tested.data)
    judged = table[table["split"] == cfg.eval.split]
    out = np.zeros(len(judged), bool)
    if not tested.own:
        out |= _leaking(cfg, judged, run, "run")
    if cfg.eval.get("gate") and cfg.eval.split == "test":
        out |= _leaking(cfg, judged, Path(cfg.eval.gate), "eval.gate")
    if not out.any():
        return tested
    if out.all():
        raise DataError(f"data.leakage=drop leaves nothing to test: all {len(judged):,} cases leak")
    left = table.drop(index=judged.index[out])
    data = _prepared(cfg, Fixed(spec, splits=left), report=_silent)
    data.excluded = {key: n for key, n in data.excluded.items() if key != "unlisted"}
    data.excluded |= tested.data.excluded | {"seen_in_training": int(out.sum())}
    return Tested(data, tested.own, tested.moved)


def _leaking(cfg: DictConfig, cases: pd.DataFrame, run: Path, key: str) -> NDArray[np.bool_]:
    """Which of the tested cases data.leakage=drop leaves out, as the run has learned them; with other policies none.

    Args:
        key: what named the run, for messages.

    Raises:
        DataError: with data.leakage=error, where there are any.
    """
    met = meet(cases, _learned(run))
    policy = cfg.data.get("leakage") or "error"
    strict = bool(cfg.get("strict_patients"))  # data.leakage=error in this very command
    leaks = _problems(cases, met.content_N, "duplicate", "the same content as a case that trained or tuned it")
    leaks += _problems(cases, met.patient_N, "patient_leak", "patient {!r} has trained or tuned it")
    names = _problems(cases, met.namesake_N, "patient_leak", "patient {!r} bears the name of one who trained it")
    faults = (leaks if policy == "error" else []) + (names if strict else [])
    if faults:
        advice = ADVICE if leaks and policy == "error" else ""
        summary = f"{len(faults):,} of {len(cases):,} cases leak from what {key}={run} was trained on:"
        raise DataError(summary, faults, "\n".join([advice] * bool(advice) + [_NAMES] * bool(names and strict)))
    if leaks:
        done = "left out" if policy == "drop" else "tested all the same"
        build.warn(str(DataError(f"{len(leaks):,} of {len(cases):,} cases trained {key}={run}; {done}:", leaks)))
    if names:
        number = cases.loc[met.namesake_N, "patient"].nunique()
        build.warn(
            f"{number:,} patients ({len(names):,} cases) bear names of patients who trained {key}={run}. In other data "
            "they may be others; if they are not, give data.leakage=error"
        )
    if met.unknown_N.any():
        build.warn(
            f"{int(met.unknown_N.sum()):,} cases bear names of cases that trained {key}={run}, a run of 0.1, which did "
            "not keep what they are: see for yourself that they are others"
        )
    return met.content_N | met.patient_N if policy == "drop" else np.zeros(len(cases), bool)


_NAMES = "names are local: leave data.leakage=error out if patients of other data only bear the same names"


def _learned(run: Path) -> pd.DataFrame:
    """All cases of a run with their splits; of an ensemble those of all its members."""
    if (run / TRAINED_ON).is_file():
        return read_splits(run / TRAINED_ON)
    splits = _splits(run)
    cross_validated = "folds" in record.read(run).get("fingerprints", {}) and load_saved(run).verb == "ensemble"
    return splits.assign(split="train") if cross_validated else splits


def _problems(cases: pd.DataFrame, which: NDArray[np.bool_], kind: str, detail: str) -> list[Problem]:
    rows: Sequence[tuple[str, str]] = list(zip(cases.loc[which, "case"], cases.loc[which, "patient"], strict=True))
    return [Problem(kind, case, detail.format(patient), "error") for case, patient in rows]
