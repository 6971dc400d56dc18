"""The report of real runs: what was left out, pictures of mistakes, and none where none are wanted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from medtrain.report import write_report
from tests.integration.conftest import Ran


@pytest.mark.drawn
def test_pictures_exclusions_and_a_report_made_again(medtrain: Callable[..., Ran], trained: Path, folder: Path) -> None:
    run = folder / "run"
    shutil.copytree(trained, run)
    html = (run / "report.html").read_text(encoding="utf-8")
    failures = pd.read_csv(run / "failures" / "failures.csv", dtype=str)
    predictions = pd.read_csv(run / "test_predictions.csv", dtype=str)
    wrong = predictions[predictions["target"] != predictions["prediction"]]
    assert 0 < len(failures) == min(12, len(wrong)) and set(failures["case"]) <= set(wrong["case"])
    assert html.count('<figure class="film">') == len(failures)
    (run / "report.html").unlink()
    assert write_report(run).read_text(encoding="utf-8") == html  # a pure function of the folder

    words = ["data.filter=site != 'west'", "data.leakage=drop", "eval.thumbnails=0", "name=two sites"]
    ran = medtrain("test", f"run={run}", *words)
    assert ran.code == 0, ran.err
    further = run / "test_two sites"
    assert not (further / "failures").exists() and "Worst mistakes" not in (further / "report.html").read_text()
    own = json.loads((further / "run.json").read_text())
    table = pd.read_csv(further / "test_predictions.csv")
    assert own["excluded"]["seen_in_training"] > 0  # of what is left only the run's own test cases count
    assert own["excluded"]["filtered"] > 0 and sum(own["excluded"].values()) + len(table) == len(
        pd.read_csv(run / "splits.csv")
    )
    ran = medtrain("eval.thumbnails=-1")
    assert ran.code == 2 and "eval.thumbnails" in ran.err
