"""Scores that no run made: compared by their ranks, on the labels and patients of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medtrain.command import compare as command
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.report.comparison import Compared, compare, read_compared
from medtrain.report.scores import read_scores
from tests.report.fabricate import make_run
from tests.report.fabricate_pair import worse


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "binary", ["normal", "sick"])


def scored(run: Path, file: Path) -> pd.DataFrame:
    """A file of scores in mm, with ties, of all cases but two, and of one that the run doesn't know."""
    table = pd.read_csv(run / "test_predictions.csv", dtype={"case": str})
    sick = table["target"] == "sick"
    table["score"] = np.random.default_rng(0).normal(8 + 3 * sick, 3).round()
    known = table.iloc[2:]
    pd.concat([known[["case", "score"]], pd.DataFrame({"case": ["other"], "score": [99]})]).to_csv(file, index=False)
    return known.assign(sick=sick)


def as_compared(path: Path) -> Compared:
    found = read_compared(path)
    assert isinstance(found, Compared)
    return found


def test_areas_and_their_difference_are_scikit_learns(run: Path, tmp_path: Path) -> None:
    known = scored(run, tmp_path / "size.csv")
    one = as_compared(run)
    found = compare([one, read_scores(tmp_path / "size.csv", one, 100)], baseline=1, bootstrap=100)
    (difference,) = found["differences"]
    assert set(difference["metrics"]) == set(difference["per_class"]["sick"]) == {"auroc", "auprc"}
    for name, area in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        own = area(known["sick"], known["score"])
        assert found["runs"][1]["metrics"][name]["value"] == pytest.approx(own)
        assert difference["metrics"][name]["value"] == pytest.approx(area(known["sick"], known["prob_sick"]) - own)
    assert difference["n_cases"] == len(known) and "densenet121 and size over" in found["says"][0]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_runs_keep_their_metrics_beside_scores(run: Path, tmp_path: Path, order: tuple[int, int, int]) -> None:
    scored(run, tmp_path / "size.csv")
    one = as_compared(run)
    three = [one, as_compared(worse(run, tmp_path / "two", "resnet50")), read_scores(tmp_path / "size.csv", one, 0)]
    found = compare([three[n] for n in order], bootstrap=60)
    pairs = {each["run"]: each["metrics"] for each in found["differences"]}
    for path, metrics in pairs.items():
        ranked = "size.csv" in path or order[0] == 2
        assert (set(metrics) == {"auroc", "auprc"}) == ranked and all("p_holm" in each for each in metrics.values())
    with pytest.raises(UsageError, match=r"compare.metric=sensitivity: there are: auroc, auprc$"):
        compare([three[n] for n in order], metric="sensitivity", bootstrap=0)


def test_the_command_takes_a_file_wherever_a_run_stands(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "size.csv"
    scored(run, file)
    named = command.readable([file, run], bootstrap=0)
    assert [each.path for each in named] == [str(file), str(run)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case,size\na,1\n", "it needs the columns case and score; it has case, size"),
        ("case,score\na,1\na,2\n", "1 cases are scored twice, a being the first"),
        ("case,score\nnowhere,1\n", "names no test case"),
        ("", "not a table of scores"),
    ],
)
def test_bad_files(run: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(MedtrainError, match=says):
        read_scores(tmp_path / "bad.csv", as_compared(run), 0)


def test_several_classes_are_refused(tmp_path: Path) -> None:
    other = make_run(tmp_path / "three", "multiclass", ["a", "b", "c"])
    (tmp_path / "s.csv").write_text("case,score\na,1\n")
    with pytest.raises(UsageError, match="two classes"):
        read_scores(tmp_path / "s.csv", as_compared(other), 0)
