"""hydra/sweeper=optuna through the command: what survives kills, faults and pruning, and what is refused."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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
