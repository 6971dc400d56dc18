"""What a training says of its data before it begins: the cases are called what they are, and what lacks is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from medtrain.command import build
from medtrain.command.opening import imbalance_of, opening, tell_imbalance, train_counts
from medtrain.target import DataSpec

CFG = OmegaConf.create(
    {
        "task": {"name": "wsi_mil"},
        "data": {"name": "slide_table"},
        "loss": {"_target_": "medtrain.loss.cross_entropy"},
        "sampler": {"_target_": "medtrain.sampler.Shuffle"},
    }
)


def data(noun: str = "slides", held_out: dict[str, Any] | None = None) -> Any:
    split = ["train"] * 4 + ["val", "test"]
    cases = pd.DataFrame({"case": list("abcdef"), "patient": list("ppqrst"), "split": split})
    return SimpleNamespace(
        cases=cases,
        noun=noun,
        planned="",
        synthetic=True,
        held_out=held_out,
        spec=DataSpec.of("multiclass", ("x", "y", "z"), 1),
        targets=np.array([0, 0, 0, 1, 2, 0]),
        rows=lambda name: np.flatnonzero(np.array(split) == name),
    )


@pytest.mark.parametrize("noun", ["images", "volumes", "slides", "patients"])
def test_cases_are_called_what_they_are(noun: str) -> None:
    text = opening(CFG, data(noun), Path("outputs/run"))
    assert text == (
        f"wsi_mil on slide_table (synthetic data, 5 patients; {noun}: 4 train, 1 val, 1 test)\n"
        "multiclass: x, y, z; run folder outputs/run"
    )


def test_a_site_that_is_held_out_is_named() -> None:
    text = opening(CFG, data(held_out={"site": "north", "fold": 1, "sites": 3}), Path("r"))
    assert text.endswith("held out: site north (data.fold=1 of 3 sites)")


def test_labels_of_the_training_split_are_counted() -> None:
    counts = train_counts(data())
    assert counts is not None and counts.positive.tolist() == [3, 1, 0] and counts.negative.tolist() == [1, 3, 4]
    found = imbalance_of(data())
    assert found["train"]["x"]["images"] == 3 and found["train"]["x"]["patients"] == 2
    assert found["test"]["z"]["images"] == 0
    nothing = data()
    nothing.targets = None
    assert train_counts(nothing) is None and imbalance_of(nothing) == {}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(build, "say", lambda text="": lines.append(str(text)))
    monkeypatch.setattr(build, "warn", lambda text: lines.append(f"warning: {text}"))
    return lines


def test_an_absent_class_is_told_in_the_word_for_the_cases(printed: list[str]) -> None:
    found = imbalance_of(data())
    tell_imbalance(CFG, data().spec, found, "slides")
    assert "warning: no slide of the training split has z: the model can't learn it" in printed


@pytest.mark.parametrize(
    ("loss", "sampler", "hint"),
    [
        ("medtrain.loss.cross_entropy", "medtrain.sampler.Shuffle", True),
        ("medtrain.loss.focal", "medtrain.sampler.Shuffle", False),
        ("medtrain.loss.cross_entropy", "medtrain.sampler.Balanced", False),
    ],
)
def test_a_hint_where_nothing_is_done_yet(loss: str, sampler: str, hint: bool, printed: list[str]) -> None:
    row = {"images": 30, "patients": 9, "negatives": 1, "unknown": 0, "percent": 90.0, "factor": 30.0, "weight": 1.0}
    found: Any = {"train": dict.fromkeys("xyz", row)}
    cfg: DictConfig = OmegaConf.merge(CFG, {"loss": {"_target_": loss}, "sampler": {"_target_": sampler}})  # type: ignore[assignment]
    tell_imbalance(cfg, data().spec, found)
    assert any("imbalance factor 30" in line for line in printed) == hint
