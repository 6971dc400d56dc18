"""What has changed in data since a run was split by them: cases, patients, splits, content, labels.

A run keeps of each case what it is and a digest of its labels (splits.csv). Runs of 0.1 keep only names and one digest
of all labels (run.json), so of them it can be said that labels have changed, not which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medtrain.core.errors import Problem
from medtrain.data.base import Data

KINDS = {  # in the order of a message
    "case_gone": "{} cases are gone",
    "case_new": "{} cases are new",
    "split_changed": "the split of {} cases",
    "patient_changed": "the patients of {} cases",
    "content_changed": "the content of {} cases",
    "label_changed": "the labels of {} cases",
    "labels_changed": "labels",
    "classes_changed": "the classes",
}
UNKNOWN_CASES, UNKNOWN_LABELS = "all cases together", "other labels; a run of 0.1 doesn't know of which"


def read_splits(file: Path) -> pd.DataFrame:
    """Read a run's splits.csv, all columns as text, blank where nothing is known."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def changes(data: Data, before: pd.DataFrame, table_digest: str | None) -> list[Problem]:
    """List what is otherwise in prepared data than a run has written.

    Args:
        before: the run's splits.csv, whose cases are named as in `data`.
        table_digest: of the run's cases, patients and labels (fingerprints.table in run.json), for runs whose
            splits.csv says nothing of labels.
    """
    now = data.split_table().astype(str).set_index("case")
    before = before.set_index("case")
    gone, new = before.index.difference(now.index, sort=False), now.index.difference(before.index, sort=False)
    problems = [Problem("case_gone", case, "the run has used it, the data lack it") for case in gone]
    problems += [Problem("case_new", case, "the run has not used it") for case in new]
    common = now.index.intersection(before.index, sort=False)
    then, here = before.loc[common], now.loc[common]
    problems += _split_changes(then, here)
    regrouped = not _same_groups(then["patient"], here["patient"])
    if regrouped:
        problems += _differing("patient_changed", then["patient"], here["patient"], "patient {1!r}, in the run {0!r}")
    if "content" in then:
        problems += _differing("content_changed", *_comparable(then["content"], here["content"]), "other content")
    if "labels" in then:
        problems += _differing("label_changed", then["labels"], here["labels"], "other labels than the run has learned")
    elif table_digest and not (len(gone) or len(new) or regrouped):
        patients = before["patient"].reindex(now.index).tolist()  # a header's pseudonym depends on the person's key
        if data.table_digest(patients) != table_digest:
            problems.append(Problem("labels_changed", UNKNOWN_CASES, UNKNOWN_LABELS))
    return problems


def in_words(problems: Sequence[Problem]) -> str:
    """Say how much of which kind has changed: ``the labels of 63 cases, 2 cases are new``."""
    counts = Counter(problem.kind for problem in problems)
    return ", ".join(text.format(f"{counts[kind]:,}") for kind, text in KINDS.items() if counts[kind])


def _split_changes(then: pd.DataFrame, here: pd.DataFrame) -> list[Problem]:
    problems = _differing("split_changed", then["split"], here["split"], "in {1}, in the run in {0}")
    if "fold" in then and (then["fold"] != "").any():
        same = then["split"] == here["split"]
        problems += _differing("split_changed", then["fold"][same], here["fold"][same], "fold {1}, in the run {0}")
    return problems


def _differing(kind: str, then: pd.Series, here: pd.Series, detail: str) -> list[Problem]:
    other = (then != here).to_numpy()
    cases: list[Any] = then.index[other].tolist()
    values = zip(then[other].tolist(), here[other].tolist(), strict=True)
    return [Problem(kind, case, detail.format(*pair)) for case, pair in zip(cases, values, strict=True)]


def _comparable(then: pd.Series, here: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Take the contents that were hashed by the same rule."""
    same_rule = then.str.partition(":")[0] == here.str.partition(":")[0]
    known = same_rule & (then != "") & (here != "")
    return then[known], here[known]


def _same_groups(then: pd.Series, here: pd.Series) -> bool:
    """Tell whether the same cases are of one patient, whatever patients are called."""
    return pd.factorize(then)[0].tolist() == pd.factorize(here)[0].tolist()
