"""`medtrain compare` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Ran
from tests.report.fabricate import make_run
from tests.report.fabricate_pair import worse


@pytest.fixture
def runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs in a sweep, one with an awkward name beside it, and one that failed."""
    monkeypatch.setenv("COLUMNS", "200")
    one = make_run(folder / "sweep" / "0", "binary", ["normal", "sick"])
    worse(one, folder / "sweep" / "1", "resnet50")
    worse(one, folder / "a run, é #=1", "resnet18", 0.01)
    (folder / "sweep" / "2").mkdir()
    (folder / "sweep" / "2" / "run.json").write_text(json.dumps({"status": "failed"}))
    return folder


def test_two_runs(medtrain: Callable[..., Ran], runs: Path) -> None:
    ran = medtrain("compare", "sweep/0", "a run, é #=1", "output=found.json", "eval.bootstrap=100")
    assert ran.code == 0, ran.err
    assert "no difference in AUROC shown between resnet18 and densenet121 over 160 cases of 80 patients" in ran.out
    found = json.loads((runs / "found.json").read_text())
    assert [run["run"] for run in found["runs"]] == ["sweep/0", "a run, é #=1"] and found["bootstrap"] == 100
    assert found["differences"][0]["metrics"]["auroc"].keys() >= {"value", "ci95", "p", "p_holm"}


def test_a_sweep_and_a_baseline(medtrain: Callable[..., Ran], runs: Path) -> None:
    ran = medtrain(
        "compare", "runs=sweep", "compare.baseline=a run, é #=1", "compare.metric=auprc", "eval.bootstrap=50"
    )
    assert ran.code == 0, ran.err
    assert "left out sweep/2: no test_predictions.csv with predictions (status: failed)" in ran.out
    assert "paired differences from run 3" in ran.out
    assert "resnet50 has a lower Average precision (AUPRC) than resnet18" in ran.out
    assert "corrected for 2 comparisons" in ran.out and "note: choose between runs by validation" in ran.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep/0"], "needs two runs with test predictions; of 1 there are 1"),
        (["sweep/0", "sweep/2"], "of 2 there are 1"),
        ([], "compare needs runs"),
        (["sweep/0", "nothing"], "nothing: no such run"),
        (["sweep/0", "sweep/1", "compare.baseline=sweep/2"], "compare.baseline=sweep/2: not one run"),
        (["sweep/0", "sweep/1", "compare.metrik=f1"], "did you mean 'metric'"),
        (["sweep/0", "${x}"], "can't hold '${'"),
        (["sweep/0", "runs=sweep/1"], "runs are given twice"),
    ],
)
def test_faults_of_the_command(medtrain: Callable[..., Ran], runs: Path, words: list[str], said: str) -> None:
    ran = medtrain("compare", *words)
    assert ran.code == 2 and said in ran.err, ran.err


def test_it_starts_without_torch(runs: Path) -> None:
    code = (
        "import sys; from medtrain.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 7 * bool({'torch', 'pytorch_lightning', 'matplotlib'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, "compare", "sweep/0", "sweep/1", "eval.bootstrap=20"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
