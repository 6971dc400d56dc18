"""tune.html: what it says of a search that is written down here."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from medtrain.report.search import write_page

WORDS = "optimizer:\n  lr: 0.003\n"


def trial(number: int, state: str, value: float | None, lr: float, model: str, reason: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {"number": number, "state": state, "reason": reason, "seconds": 1.0}
    made |= {"epochs": {"1": 0.5, "2": value or 0.4}, "params": {"optimizer.lr": lr, "model": model}}
    return made | {"values": [value] if state == "finished" else []}


@pytest.fixture
def facts() -> dict[str, Any]:
    listed = [
        trial(0, "finished", 0.71, 1e-5, "resnet18"),
        trial(1, "finished", 0.84, 3e-3, "densenet121"),
        trial(2, "failed", None, 0.9, "resnet18", "the loss is <nan>"),
        trial(3, "pruned", 0.41, 1e-4, "resnet18", "behind"),
        trial(4, "finished", 0.80, 1e-3, "resnet18"),
    ]
    metrics = {"auroc": {"value": 0.775, "ci95": [0.702, 0.848]}}
    return {
        "objectives": [["val_auroc", "max"]],
        "sampler": "tpe",
        "pruner": "median",
        "seed": 3,
        "wanted": 5,
        "inner_folds": 0,
        "counts": {"finished": 3, "pruned": 1, "failed": 1},
        "trials": listed,
        "default": {"values": [0.763], "reason": ""},
        "front": [],
        "best": {
            "name": "1",
            "run": "1",
            "params": listed[1]["params"],
            "value": 0.84,
            "corrected": {"value": 0.791, "replicates": 200, "patients": 44, "method": "bootstrap bias correction"},
            "optimism": 0.049,
            "of": 4,
            "experiment": WORDS,
        },
        "test": {"folder": "1/test_test", "tests_of_search": 1, "n_cases": 61, "n_patients": 59, "metrics": metrics},
        "importance": {"shares": {"optimizer.lr": 0.8, "model": 0.2}, "reason": ""},
    }


def text_of(folder: Path, facts: dict[str, Any]) -> str:
    """The page as it is read, without marks."""
    page = write_page(folder, facts).read_text(encoding="utf-8")
    page = re.sub(r"<(style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_what_a_search_bought(tmp_path: Path, facts: dict[str, Any]) -> None:
    text = text_of(tmp_path, facts)
    for words in (
        "The best of 4 configurations reaches AUROC 0.840 on validation, 0.791 after correction",
        "Tested once, and it alone: AUROC 0.775 (0.702 to 0.848",
        "Default, the same seed and split 0.763",
        "Best minus default +0.077",
        "61 cases of 59 patients: chosen without it, from 4 configurations",
        "optimizer: lr: 0.003",
        "the loss is <nan>",
        "200 samples of 44 patients",
    ):
        assert words in text, words
    drawn = {file.stem for file in (tmp_path / "plots").glob("*.png")}
    assert drawn == {"history", "importance", "parallel", "slices"}
    for heading in ("History", "Importance", "Parallel coordinates", "Slices"):
        assert heading in text
    assert "that were wanted" not in text and "looked at" not in text


def test_what_makes_its_numbers_mean_less(tmp_path: Path, facts: dict[str, Any]) -> None:
    facts["wanted"], facts["inner_folds"], facts["test"]["tests_of_search"] = 20, 4, 2
    facts["best"] |= {"name": "default", "corrected": {"value": None, "reason": "there are too few patients"}}
    facts["importance"] = {"shares": {}, "reason": "of too few trials"}
    text = text_of(tmp_path, facts)
    for words in (
        "The search came to 5 of the 20 trials that were wanted.",
        "No trial was better than the configuration without what was searched",
        "The best validation score is not corrected: there are too few patients.",
        "The test split was looked at 2 times in this search",
        "mean over 4 inner folds",
        "Importance is not shown: of too few trials.",
    ):
        assert words in text, words
    assert not (tmp_path / "plots" / "importance.png").exists()


def test_several_objectives_have_a_front_and_no_best(tmp_path: Path, facts: dict[str, Any]) -> None:
    facts["objectives"].append(["wall_time_s", "min"])
    for known, seconds in zip(facts["trials"], (5.0, 9.0, 0.0, 0.0, 6.0), strict=True):
        known["values"] += [seconds] if known["values"] else []
    facts |= {"best": None, "test": None, "front": [0, 1, 4], "default": {"values": [0.763, 4.0], "reason": ""}}
    text = text_of(tmp_path, facts)
    assert "5 trials; 3 of them are beaten by none in all objectives." in text
    assert "None was tested: choose one, and test it alone." in text
    assert {file.stem for file in (tmp_path / "plots").glob("*.png")} == {"front"}
