"""sweep.csv: a row a job, the best first, whatever became of the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.command.counted import count_ensemble
from medtrain.command.sweep import outcome, refresh
from medtrain.io.files import write_text

CALLBACKS = """callbacks:
  early_stopping: {{_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val_loss, mode: min}}
  best: {{_target_: medtrain.callbacks.BestCheckpoint, monitor: {monitor}, mode: {mode}}}
"""


def job(
    sweep: Path, name: str, score: float | None, monitor: str = "val_auroc", mode: str = "max", **facts: Any
) -> None:
    folder = sweep / name
    folder.mkdir(parents=True)
    run = {"status": "finished", "best_score": score, "wall_time_s": 4.5, "images_per_s": 20.0}
    run |= {"peak_memory_mb": {"process": 900.0, "gpu": 300.5}, "overrides": ["seed=0"]}
    write_text(folder / "run.json", json.dumps(run | facts))
    write_text(folder / "config.yaml", CALLBACKS.format(monitor=monitor, mode=mode))
    if score is not None:
        value = {"value": score / 3, "ci95": [score / 4, score / 2]}
        write_text(
            folder / "test_metrics.json",
            json.dumps({"metrics": {"auroc": value, "mcc": {"value": None, "ci95": None}}}),
        )


def table(sweep: Path) -> list[dict[str, str]]:
    with open(sweep / "sweep.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_first_and_failures_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job(tmp_path, "0", 0.8, overrides=["seed=0", "model=resnet18", "optimizer.lr=0.1"])
    job(tmp_path, "2", None, status="failed", error='no, "never"\nmore', overrides=["seed=0", "model=x"])
    job(tmp_path, "10", 0.7, overrides=["seed=0", "model=resnet18", "optimizer.lr=0.2"])
    job(tmp_path, "9", 0.9, overrides=["seed=0", "model=[a,b]", "optimizer.lr=0.1"])
    (tmp_path / "notes").mkdir()
    assert outcome(tmp_path) == 1
    rows = table(tmp_path)
    assert [row["job"] for row in rows] == ["9", "0", "10", "2"] == [row["folder"] for row in rows]
    assert (
        list(rows[0])
        == (
            "job folder status error model optimizer.lr monitor best_score tests_of_split test_auroc test_auroc_lo "
            "test_auroc_hi test_mcc test_mcc_lo test_mcc_hi wall_time_s images_per_s peak_memory_mb"
        ).split()
    )
    best, failed = rows[0], rows[-1]
    assert best["model"] == "[a,b]" and best["monitor"] == "val_auroc" and best["test_mcc"] == ""
    assert float(best["test_auroc"]) == 0.9 / 3 and float(best["test_auroc_hi"]) == 0.45
    assert (best["wall_time_s"], best["images_per_s"], best["peak_memory_mb"]) == ("4.5", "20.0", "300.5")
    assert failed["status"] == "failed" and failed["error"] == 'no, "never"' and failed["test_auroc"] == ""
    assert failed["optimizer.lr"] == ""
    shown = capsys.readouterr().out
    assert shown.index("[a,b]") < shown.index("resnet18") < shown.index("failed") and "sweep.csv" in shown


def test_a_loss_is_best_where_it_is_least(tmp_path: Path) -> None:
    for name, score in (("0", 0.8), ("1", 0.2), ("2", 0.5)):
        job(tmp_path, name, score, "val_loss", "min")
    assert outcome(tmp_path) == 0
    assert [row["job"] for row in table(tmp_path)] == ["1", "2", "0"]


def test_it_grows_while_jobs_run(tmp_path: Path) -> None:
    refresh(tmp_path)
    assert table(tmp_path) == []
    job(tmp_path, "0", 0.8)
    job(tmp_path, "1", None, status="running", host="elsewhere", heartbeat="2020-01-01T00:00:00+00:00")
    refresh(tmp_path)
    assert [(row["job"], row["status"]) for row in table(tmp_path)] == [("0", "finished"), ("1", "lost")]
    assert "seed" not in table(tmp_path)[0]  # the same in all


def test_a_single_job_shows_all_its_words(tmp_path: Path) -> None:
    job(tmp_path, "0", 0.8, overrides=["seed=0", "model=resnet18"])
    outcome(tmp_path)
    assert table(tmp_path)[0]["seed"] == "0" and table(tmp_path)[0]["model"] == "resnet18"


def test_a_full_disk_does_not_end_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    job(tmp_path, "0", 0.8)
    monkeypatch.setattr("medtrain.command.sweep.write_text", full)
    refresh(tmp_path)
    with pytest.raises(OSError):
        outcome(tmp_path)


def test_a_damaged_job_is_a_row_of_its_own(tmp_path: Path) -> None:
    job(tmp_path, "0", 0.8)
    job(tmp_path, "1", 0.9)
    job(tmp_path, "2", 0.7)
    (tmp_path / "0" / "run.json").write_text("{")
    (tmp_path / "0" / "config.yaml").write_text("a: [")
    (tmp_path / "2" / "test_metrics.json").write_text('{"metrics": [1]}')
    assert outcome(tmp_path) == 1
    rows = {row["job"]: row for row in table(tmp_path)}
    assert rows["1"]["status"] == "finished" and rows["1"]["monitor"] == "val_auroc" and not rows["1"]["error"]
    assert rows["0"]["status"] == "damaged" and str(tmp_path / "0" / "run.json") in rows["0"]["error"]
    assert rows["2"]["status"] == "finished" and "test_metrics.json is damaged" in rows["2"]["error"]


def test_jobs_that_test_one_split_count_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, split, tests in (("0", "a", 1), ("1", "a", 2), ("2", "b", 1), ("3", None, 1)):
        job(tmp_path, name, 0.8, tests_counted=tests, fingerprints={"split": split} if split else {})
    job(tmp_path, "4", None, status="failed", fingerprints={"split": "a"})
    outcome(tmp_path)
    assert {row["folder"]: row["tests_of_split"] for row in table(tmp_path)} == {
        "0": "3", "1": "3", "2": "1", "3": "", "4": "3",
    }  # fmt: skip
    told = " ".join(capsys.readouterr().out.split())
    assert "the same test split was looked at 3 times; choose by val_auroc" in told
    noted = {n: json.loads((tmp_path / n / "run.json").read_text()).get("tests_of_sweep") for n in "01234"}
    assert noted == {"0": 3, "1": 3, "2": None, "3": None, "4": None}


def test_an_ensemble_counts_the_looks_of_its_members_and_its_own_again(tmp_path: Path) -> None:
    for name, tests in (("0", 1), ("1", 2), ("2", 1)):
        job(tmp_path, name, 0.8, tests_counted=tests)
    on_one_split, folds = [[tmp_path / name for name in "012"]], [[tmp_path / name] for name in "012"]
    assert count_ensemble(on_one_split) == 1 + 2 + 1 + 1
    assert count_ensemble(on_one_split) == 6, "judged again, by another policy"
    assert count_ensemble(folds) == 2 + 3, "the fold looked at most: two tests, now in a third ensemble"
