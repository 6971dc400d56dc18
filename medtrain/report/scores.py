"""Scores that no run of ours made (a reader's, another tool's, a lesion's size), to compare runs with.

Nobody knows a threshold or a probability behind them: only what ranks alone decide is compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.metric import Cases, EvalOptions, evaluate
from medtrain.report.comparison import Compared
from medtrain.report.folder import RunFolder

RANKED = ("auroc", "auprc")
"""Metrics that any rising function of the scores leaves as they are."""


def read_scores(file: Path, run: Compared, bootstrap: int) -> Compared:
    """Read a CSV of scores beside a run: columns ``case``, as its test_predictions.csv names it, and ``score``.

    Args:
        file: more is more of the run's positive class; other cases than the run's, and blank scores, are left out.
        run: whose labels and patients count; binary.
        bootstrap: replicates of the intervals.

    Raises:
        UsageError: the run is not binary.
        MedtrainError: the file can't be read, lacks a column, or scores a case twice.
    """
    if run.target.positive is None:
        raise UsageError(f"{file}: scores can be compared with runs of two classes; {run.path} is {run.target.kind}")
    score_N = _scores(file)
    scored_rows = [n for n, case in enumerate(run.cases) if case in score_N.index]
    cases = [run.cases[n] for n in scored_rows]
    if not scored_rows:
        raise UsageError(f"{file} names no test case of {run.path}, such as {run.cases[0]}")
    ranks = scipy.stats.rankdata(score_N.loc[cases].to_numpy())
    positive = (ranks - 0.5) / len(ranks)
    probs_NC = np.stack([1 - positive, positive], axis=1)
    target_NC, patients = run.target_NC[scored_rows], [run.patients[n] for n in scored_rows]
    predicted_NC = np.eye(2)[(positive >= 0.5).astype(int)]
    scored = Cases(probs_NC, target_NC, predicted_NC > 0.5, run.classes, patients)
    outcome = evaluate(scored, run.target.sheet, EvalOptions(bootstrap))
    folder = RunFolder(file, test={"metrics": {name: outcome["metrics"][name] for name in RANKED}})
    facts = {"model": file.stem}
    return Compared(folder, facts, run.target, cases, patients, probs_NC, target_NC, predicted_NC, metrics=RANKED)


def _scores(file: Path) -> pd.Series:
    """Read the score of each case."""
    try:
        table = pd.read_csv(file, dtype={"case": str}, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise MedtrainError(f"{file}: not a table of scores ({str(error).splitlines()[0]})") from error
    if not {"case", "score"} <= set(table):
        raise MedtrainError(f"{file}: it needs the columns case and score; it has {', '.join(map(str, table))}")
    score_N = pd.to_numeric(table.set_index("case")["score"], errors="coerce").dropna()
    twice = score_N.index[score_N.index.duplicated()]
    if len(twice):
        raise MedtrainError(f"{file}: {len(twice)} cases are scored twice, {twice[0]} being the first")
    return score_N
