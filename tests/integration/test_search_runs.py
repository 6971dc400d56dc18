"""hydra/sweeper=optuna through the command: what survives kills, faults and pruning, and what is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from operator import le
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.command.evaluate import run_loader
from medtrain.io import record
from tests import preloaded
from tests.integration.conftest import Ran, ended

optuna = pytest.importorskip("optuna")

GO_ON = ("-m", "hydra.sweep.dir=search", "sweep.retry=failed")


@pytest.fixture
def words(folder: Path) -> list[str]:
    """A search whose trials take a second: 60 bags of 3 instances of 4 features."""
    rng = np.random.default_rng(0)
    label_N = np.repeat(np.arange(60) % 2, 3)
    table = pd.DataFrame(rng.normal(size=(180, 4)) + 0.5 * label_N[:, None])
    table.insert(0, "bag", np.repeat(np.arange(60), 3))
    table.insert(0, "label", label_N)
    table.to_csv("bags.csv", index=False, header=False)
    common = ["task=wsi_mil", "data=feature_bags", "data.table=bags.csv", "data.num_workers=0", "trainer=cpu"]
    return [
        *("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=search", *common, "eval.bootstrap=20"),
        *("trainer.max_epochs=2", "optimizer.lr=tag(log,interval(1e-4,1e-1))"),
    ]


def trials(folder: Path = Path("search")) -> list[Any]:
    """Read the journal by Optuna alone, as optuna-dashboard does."""
    journal = optuna.storages.journal
    storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / "study.journal")))
    return list(optuna.load_study(study_name="medtrain", storage=storage).trials)


def finished() -> dict[int, float]:
    if not Path("search/study.journal").is_file():
        return {}
    try:
        return {t.number: t.value for t in trials() if t.state.name == "COMPLETE"}
    except KeyError:  # killed before the study was begun
        return {}


@pytest.mark.slow
def test_ten_kills_lose_no_finished_trial(installed: Callable[..., Ran], words: list[str]) -> None:
    words = [*words, "hydra.sweeper.n_trials=6"]
    draws, known, ends = random.Random(0), dict[int, float](), dict[int, str]()
    for _ in range(10):
        begun = Path("search/study.journal").is_file()
        process = preloaded.start(*(GO_ON if begun else words))
        before, until = len(known), time.monotonic() + 60
        moment = draws.uniform(0, 2)
        while process.poll() is None and len(finished()) == before and time.monotonic() < until:
            time.sleep(0.02)  # until a trial more has ended, or the search; then at any moment of the next one
        time.sleep(moment)
        process.kill()
        process.wait()
        now = finished()
        assert now.items() >= known.items()
        assert all(record.read(f"search/{number}")["ended"] == end for number, end in ends.items())
        known, ends = now, {number: record.read(f"search/{number}")["ended"] for number in now}
    ran = ended(preloaded.start(*GO_ON))
    assert ran.code == 0, ran.err
    now = finished()
    assert now.items() >= known.items() and sorted(now) == list(range(6))
    for trial in trials():
        assert trial.value == pytest.approx(record.read(f"search/{trial.number}")["best_score"])
    assert len({trial.params["optimizer.lr"] for trial in trials()}) == 6


def until(what: Callable[[], Any]) -> Any:
    """Wait until something is there, and give it."""
    end = time.monotonic() + 120
    while not (there := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return there


def trained_by(worker: str) -> int | None:
    """Give the number of the trial that a worker is training."""
    if not Path("search/study.journal").is_file():
        return None
    mine = [t.number for t in trials() if t.state.name == "RUNNING" and t.user_attrs.get("worker") == worker]
    return next((n for n in mine if record.is_alive(record.look(f"search/{n}"))), None)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_a_dead_worker_costs_its_trial_and_no_worker_outlives_the_command(
    installed: Callable[..., Ran], words: list[str]
) -> None:
    own = ["hydra.sweeper.parallel=2", "hydra.sweeper.n_trials=4", "trainer.max_epochs=20"]
    process = preloaded.start(*words, *own)
    number = until(lambda: trained_by("1"))
    worker = parent(record.look(f"search/{number}")["pid"])
    os.kill(worker, signal.SIGKILL)
    until(lambda: next(t for t in trials() if t.number == number).state.name == "FAIL")
    assert trials()[number].user_attrs["error"] == "its worker 1 died (code -9)"
    known = until(finished)
    workers = {parent(record.look(f"search/{n}")["pid"]) for n in map(trained_by, "01") if n is not None}
    process.kill()
    process.wait()
    until(lambda: not any(Path(f"/proc/{pid}").is_dir() for pid in workers))
    assert worker not in workers and finished().items() >= known.items()
    ran = ended(preloaded.start(*GO_ON))
    assert ran.code == 0, ran.err
    assert finished().items() >= known.items() and sorted({*finished(), number}) == list(range(4))
    assert "4 trials (3 finished, 1 failed)" in ran.out


def test_what_fails_is_told_what_is_behind_is_pruned(
    medtrain: Callable[..., Ran], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medtrain.io.study.STARTUP", 1)
    # one rate that explodes, one that learns nothing in any epoch, and some that do
    rates = "optimizer.lr=1e-2,1e30,1e-9,2e-2,3e-2"
    own = [rates if word.startswith("optimizer.lr") else word for word in words]
    own = [*own, "hydra.sweeper.sampler=grid", "hydra.sweeper.pruner=median", "hydra.sweeper.n_trials=9"]
    ran = medtrain(*own)
    assert ran.code == 0, ran.out + ran.err
    assert "all 5 combinations were tried" in ran.out
    state = {trial.params["optimizer.lr"]: trial.state.name for trial in trials()}
    assert [rate for rate, name in state.items() if name == "FAIL"] == ["1e+30"] and list(state.values()).count(
        "COMPLETE"
    ) >= 2
    failed = next(trial.number for trial in trials() if trial.state.name == "FAIL")
    assert f"trial {failed} came to no result and counts as failed: " in ran.out
    cut = [trial for trial in trials() if trial.state.name == "PRUNED"]
    for trial in cut:
        fields = record.read(f"search/{trial.number}")
        assert fields["status"] == "pruned" and "behind" in fields["error"] and len(trial.intermediate_values) == 1
        assert f"trial {trial.number} was pruned" in ran.out
    table = pd.read_csv("search/sweep.csv")
    assert sorted(table["status"]) == sorted(
        ["finished"] * (1 + list(state.values()).count("COMPLETE")) + ["failed"] + ["pruned"] * len(cut)
    )

    ran = medtrain(*own)
    assert ran.code == 2 and "holds a search already" in ran.err
    ran = medtrain(*GO_ON)
    assert ran.code == 0 and "default is finished already" in ran.out, ran.err
    assert len(trials()) == 5


def test_inner_folds_validate_in_turn_and_one_model_is_tested(medtrain: Callable[..., Ran], words: list[str]) -> None:
    own = ["hydra.sweeper.inner_folds=true", "data.folds=4", "data.fold=1", "hydra.sweeper.n_trials=2"]
    ran = medtrain(*words, *own, "trainer.max_epochs=1")
    assert ran.code == 0, ran.out + ran.err
    for trial in trials():
        runs = [Path(f"search/{trial.number}_val{after}") for after in (1, 2, 3)]
        assert trial.value == pytest.approx(np.mean([record.read(run)["best_score"] for run in runs]))
        splits = [pd.read_csv(run / "splits.csv", dtype=str) for run in runs]
        assert [set(s["fold"][s["split"] == "val"]) for s in splits] == [{"2"}, {"3"}, {"0"}]
        assert [set(s["fold"][s["split"] == "test"]) for s in splits] == [{"1"}] * 3
    facts = json.loads(Path("search/search.json").read_text())
    assert facts["inner_folds"] == 3 and facts["best"]["of"] == 3
    assert facts["best"]["corrected"]["patients"] == 45  # each of three folds of 15 validated once
    assert [run.name for run in Path("search").glob("*") if (run / "test_test").is_dir()] == [facts["best"]["run"]]
    assert "val_after" not in Path("search/best.yaml").read_text()
    assert len(pd.read_csv("search/sweep.csv")) == 9
    assert "mean over 3 inner folds" in Path("search/tune.html").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_are_not_there_are_refused_before_the_first_trial(
    medtrain: Callable[..., Ran], words: list[str]
) -> None:
    ran = medtrain(*words, "trainer.accelerator=gpu")
    assert ran.code == 1 and "and trials would like it: trainer: No supported gpu" in ran.err
    assert not Path("search/0").exists()


def test_time_ends_a_search(medtrain: Callable[..., Ran], words: list[str]) -> None:
    ran = medtrain(*words, "hydra.sweeper.n_trials=500", "hydra.sweeper.timeout=0.1")  # the default takes longer
    assert ran.code == 0, ran.out + ran.err
    assert "hydra.sweeper.timeout: 0 of 500 trials were asked for" in ran.out and not trials()
    assert "0 of the 500 trials that were wanted" in Path("search/tune.html").read_text()


def test_the_best_trains_again_to_the_same_score(medtrain: Callable[..., Ran], words: list[str]) -> None:
    hyperband = ["hydra.sweeper.pruner=hyperband", "trainer.max_epochs=4", "hydra.sweeper.n_trials=5"]
    ran = medtrain(*words, *hyperband)
    assert ran.code == 0, ran.out + ran.err
    for trial in trials():
        assert trial.state.name in ("COMPLETE", "PRUNED") and trial.intermediate_values
    Path("medtrain_configs/experiment").mkdir(parents=True)
    Path("search/best.yaml").rename("medtrain_configs/experiment/best.yaml")
    best = json.loads(Path("search/search.json").read_text())["best"]
    ran = medtrain("experiment=best", "data.table=bags.csv", "hydra.run.dir=again")
    assert ran.code == 0, ran.err
    assert record.read("again")["best_score"] == pytest.approx(best["value"], abs=1e-9)
    tested, again = (
        json.loads(Path(file).read_text())["metrics"]["auroc"]["value"]
        for file in (f"search/{best['run']}/test_test/test_metrics.json", "again/test_metrics.json")
    )
    assert tested == again


def test_of_several_objectives_the_front_is_told_and_nothing_tested(
    medtrain: Callable[..., Ran], words: list[str]
) -> None:
    objectives = "hydra.sweeper.objectives={val_auroc:max,val_loss:min,wall_time_s:min}"
    ran = medtrain(*words, objectives, "hydra.sweeper.n_trials=3")
    assert ran.code == 0, ran.out + ran.err
    facts = json.loads(Path("search/search.json").read_text())
    values = {trial.number: trial.values for trial in trials()}
    signed = {n: (-v[0], v[1], v[2]) for n, v in values.items()}
    beaten = {n for n, own in signed.items() if any(o != own and all(map(le, o, own)) for o in signed.values())}
    assert set(facts["front"]) == set(values) - beaten and facts["best"] is None
    for number, (auroc, loss, seconds) in values.items():
        table = pd.read_csv(f"search/{number}/metrics.csv")
        row = table[table["epoch"] == record.read(f"search/{number}")["best_epoch"]].dropna(subset="val_loss").iloc[0]
        assert (row["val_auroc"], row["val_loss"]) == pytest.approx((auroc, loss))
        assert seconds == record.read(f"search/{number}")["wall_time_s"]
    assert not list(Path("search").glob("*/test_test")) and "Pareto front" in Path("search/tune.html").read_text()


def test_a_trial_validates_its_best_epoch_once(
    medtrain: Callable[..., Ran], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    single = [*words[3:-1], "eval.test=false", "trainer.max_epochs=4"]
    passes = []

    def counted(*args: Any, **options: Any) -> None:
        passes.append(options)
        run_loader(*args, **options)

    monkeypatch.setattr("medtrain.command.replicates.run_loader", counted)
    assert medtrain(*single, "hydra.run.dir=once").code == 0
    assert passes == []
    monkeypatch.setattr(
        "medtrain.callbacks.checkpoint.BestCheckpoint.keep", property(lambda _: False, lambda *_: None), raising=False
    )
    assert medtrain(*single, "hydra.run.dir=twice").code == 0  # as where the best epoch was before the run went on
    assert passes == [{"as_after_epoch": True}]
    once, twice = (json.loads(Path(run, "val_replicates.json").read_text()) for run in ("once", "twice"))
    assert once["cases"] == twice["cases"]
    for name, known in once["metrics"].items():  # how many samples there are depends on the time that one takes
        for part in ("inside", "outside"):
            one, other = (np.array(values[:20], float) for values in (known[part], twice["metrics"][name][part]))
            np.testing.assert_allclose(one, other, rtol=1e-6)
    assert once["metrics"]["val_loss"]["score"] == pytest.approx(record.read("once")["best_score"])
