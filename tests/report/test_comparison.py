"""Runs side by side: what is compared, what is refused, and sentences that say no more than the numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medtrain.core.errors import UsageError
from medtrain.metric import holm
from medtrain.report.comparison import Compared, compare, read_compared, sentence
from tests.report.fabricate import make_run
from tests.report.fabricate_pair import worse

CLASSES = {"binary": ["normal", "sick"], "multiclass": ["a", "b", "c"], "multilabel": ["Effusion", "Mass"]}


def read(*folders: Path) -> list[Compared]:
    found = [read_compared(folder) for folder in folders]
    assert all(isinstance(run, Compared) for run in found)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("kind", CLASSES)
def test_each_kind_of_labels(kind: str, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", kind, CLASSES[kind])
    found = compare(read(one, worse(one, tmp_path / "two", "resnet50")), bootstrap=200)
    (difference,) = found["differences"]
    assert found["metric"] == "auroc" and difference["n_cases"] == 160 and difference["n_patients"] == 80
    assert set(difference["per_class"]) == set(CLASSES[kind])
    entry = difference["metrics"]["auroc"]
    assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1] < 0
    assert found["says"][0].startswith("resnet50 has a lower AUROC than densenet121 by 0.")
    json.dumps(found, allow_nan=False)


def test_the_difference_is_scikit_learns(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    two = worse(one, tmp_path / "two", "resnet50")
    areas = []
    for folder in (one, two):
        table = pd.read_csv(folder / "test_predictions.csv")
        areas.append(roc_auc_score(table["target"] == "sick", table["prob_sick"]))
    found = compare(read(one, two), bootstrap=0)["differences"][0]["metrics"]["auroc"]
    assert found["value"] == pytest.approx(areas[1] - areas[0]) and found["ci95"] is None


def test_the_order_of_rows_and_classes_does_not_matter(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "multiclass", CLASSES["multiclass"])
    two = worse(one, tmp_path / "two", "resnet50")
    expected = compare(read(one, two), bootstrap=60)["differences"][0]
    table = pd.read_csv(two / "test_predictions.csv").sample(frac=1, random_state=0)
    table[["case", "patient", "target", "prediction", "prob_c", "prob_a", "prob_b"]].to_csv(
        two / "test_predictions.csv", index=False
    )
    found = compare(read(one, two), bootstrap=60)["differences"][0]
    assert found["per_class"]["b"]["auroc"] == expected["per_class"]["b"]["auroc"]
    np.testing.assert_allclose(found["metrics"]["auroc"]["ci95"], expected["metrics"]["auroc"]["ci95"])


def test_other_test_cases_are_compared_on_the_common_ones(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    two = worse(one, tmp_path / "two", "resnet50", fingerprints={"table": "another"})
    table = pd.read_csv(two / "test_predictions.csv")
    table.iloc[:60].to_csv(two / "test_predictions.csv", index=False)
    found = compare(read(one, two), bootstrap=60)
    assert found["differences"][0]["n_cases"] == 60 and found["differences"][0]["n_patients"] == 30
    assert "on the 60 they share" in found["notes"][0] and "different tables" in found["notes"][1]
    table.assign(case="other " + table["case"]).to_csv(two / "test_predictions.csv", index=False)
    with pytest.raises(UsageError, match="no test case in common"):
        compare(read(one, two), bootstrap=10)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    with pytest.raises(UsageError, match="other labels: they can't be compared"):
        compare(read(one, make_run(tmp_path / "three", "multiclass", CLASSES["multiclass"])))
    turned = make_run(tmp_path / "turned", "binary", ["sick", "normal"])
    with pytest.raises(UsageError, match="finds 'sick'.*finds 'normal'.*positive classes differ"):
        compare(read(one, turned))
    with pytest.raises(UsageError, match=r"other labels for \d+ of 160 cases, c\d+ being the first"):
        compare(read(one, make_run(tmp_path / "drawn anew", "binary", CLASSES["binary"], seed=3)))
    with pytest.raises(UsageError, match="compare.metric=dice: there are: auroc, "):
        compare(read(one, worse(one, tmp_path / "two", "resnet50")), metric="dice", bootstrap=0)


def test_runs_without_predictions_say_why(tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "run.json").write_text(json.dumps({"status": "failed"}))
    assert read_compared(failed) == "no test_predictions.csv with predictions (status: failed)"
    twice = make_run(tmp_path / "twice", "binary", CLASSES["binary"])
    table = pd.read_csv(twice / "test_predictions.csv")
    pd.concat([table, table[:2]]).to_csv(twice / "test_predictions.csv", index=False)
    assert read_compared(twice) == "test_predictions.csv names 2 cases twice"


def test_what_a_run_was_and_where_it_differs(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    words = ["model=resnet50", "seed=1", "optimizer.lr=0.1"]
    two = worse(one, tmp_path / "two", "resnet50", overrides=words)
    three = worse(one, tmp_path / "three", "resnet50", overrides=["model=resnet50", "seed=2", "optimizer.lr=0.1"])
    first, second, third = compare(read(one, two, three), baseline=1, bootstrap=30)["runs"]
    assert (second["overrides"], first["overrides"]) == (
        {"model": "resnet50", "seed": "1", "optimizer.lr": "0.1"},
        {},
    )
    assert second["epochs"] == 8 and second["images_per_s"] == 154.2 and second["peak_memory_mb"] == {"process": 812.4}
    assert second["metrics"]["auroc"]["ci95"]
    assert first["name"] == "densenet121" and third["name"] == str(three)  # two are resnet50


def test_a_test_of_a_run_has_its_facts(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    other = make_run(one / "test_other", "binary", CLASSES["binary"])
    for name in ("config.yaml", "metrics.csv", "splits.csv"):
        (other / name).unlink()
    (other / "run.json").write_text(
        json.dumps({"verb": "test", "model": "densenet121", "spec": {"label_kind": "binary"}})
    )
    run = compare(read(one, other), bootstrap=0)["runs"][1]
    assert run["images_per_s"] == 154.2 and run["epochs"] == 8


SIZES = {"n_cases": 240, "n_patients": 1}
OVER = "over 240 cases of 1 patient"


@pytest.mark.parametrize(
    ("value", "ci95", "p", "p_holm", "runs", "said"),
    [
        (0.012, [0.003, 0.021], 0.004, 0.004, 1,
         f"A has a higher AUROC than B by 0.012 (0.003 to 0.021) {OVER}; p = 0.004"),
        (-0.012, [-0.021, -0.003], 0.004, 0.008, 2,
         f"A has a lower AUROC than B by 0.012 (0.003 to 0.021) {OVER}; p = 0.008, corrected for 2 comparisons"),
        (0.012, [0.001, 0.021], 0.03, 0.15, 5,
         f"A has a higher AUROC than B by 0.012 (0.001 to 0.021) {OVER}, but corrected for 5 comparisons p = 0.15: "
         "no difference shown"),
        (0.012, [-0.001, 0.021], 0.09, 0.09, 1,
         f"no difference in AUROC shown between A and B {OVER}: +0.012, its interval -0.001 to 0.021 holds 0"),
        (0.012, None, None, None, 1,
         f"A and B: AUROC differs by +0.012 {OVER}; without an interval that shows nothing"),
        (None, None, None, None, 1, f"A and B: AUROC is not defined {OVER}"),
    ],
)  # fmt: skip
def test_sentences(value: Any, ci95: Any, p: Any, p_holm: Any, runs: int, said: str) -> None:
    entry = {"value": value, "ci95": ci95, "p": p, "p_holm": p_holm}
    assert sentence("A", "B", "AUROC", entry, SIZES, runs) == said


def test_several_comparisons_are_counted(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    others = [worse(one, tmp_path / f"w{n}", f"net{n}", 0.3) for n in range(3)]
    found = compare(read(one, *others), metric="brier", bootstrap=100)
    for entry in (difference["metrics"]["brier"] for difference in found["differences"]):
        assert entry["p_holm"] == pytest.approx(min(1, 3 * entry["p"]))  # three equal ones
    assert "choose between runs by validation" in found["notes"][-1]
    assert all(difference["metrics"]["auroc"]["p"] is None for difference in found["differences"])


def test_metrics_that_were_not_named_have_no_p_and_several_named_ones_are_corrected_together(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    runs = read(one, worse(one, tmp_path / "two", "resnet50", 0.3))
    (alone,) = compare(runs, bootstrap=200)["differences"]
    named = [(name, e["p"]) for part in (alone["metrics"], *alone["per_class"].values()) for name, e in part.items()]
    assert [name for name, p in named if p is not None] == ["auroc"]
    both = compare(runs, metric=["auroc", "mcc"], bootstrap=200)
    tested = [both["differences"][0]["metrics"][name] for name in ("auroc", "mcc")]
    assert [e["p_holm"] for e in tested] == pytest.approx(holm([e["p"] for e in tested])) and len(both["says"]) == 2
    assert alone["metrics"]["auroc"]["analytic"]["method"] == "Obuchowski", "two cases a patient"


def test_two_perfect_runs_say_nothing(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    table = pd.read_csv(one / "test_predictions.csv")
    table["prob_sick"] = np.where(table["target"] == "sick", 0.9, 0.1)
    table["prob_normal"], table["prediction"] = 1 - table["prob_sick"], table["target"]
    table.to_csv(one / "test_predictions.csv", index=False)
    two = tmp_path / "two"
    shutil.copytree(one, two)
    table.assign(prob_sick=table["prob_sick"] * 0.9, prob_normal=1 - table["prob_sick"] * 0.9).to_csv(
        two / "test_predictions.csv", index=False
    )
    found = compare(read(one, two), bootstrap=100, margin=0.05)
    entry = found["differences"][0]["metrics"]["auroc"]
    assert entry["value"] == 0 and entry["ci95"] is None and entry["p"] is None
    assert "nothing can be said" in found["says"][0] and "equivalent" not in " ".join(found["says"])


@pytest.mark.parametrize(("by", "margin", "said"), [(0.004, 0.2, "equivalent"), (0.3, 0.01, "not shown to be as good")])
def test_a_margin_is_tested(by: float, margin: float, said: str, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    found = compare(read(one, worse(one, tmp_path / "two", "resnet50", by)), bootstrap=400, margin=margin)
    entry = found["differences"][0]["metrics"]["auroc"]
    assert said in found["says"][1] and f"margin {margin:g} of AUROC" in found["says"][1]
    assert (entry["p_worse"] < 0.025) == (entry["ci95"][0] > -margin)
    assert (entry["p_other"] < 0.025) == (entry["ci95"][0] > -margin and entry["ci95"][1] < margin)


@pytest.mark.parametrize(("metric", "margin"), [("calibration_slope", 0.1), ("auroc", 0.0), ("auroc", -0.1)])
def test_margins_without_a_meaning(metric: str, margin: float, tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    with pytest.raises(UsageError, match=r"eval\.margin"):
        compare(read(one, worse(one, tmp_path / "two", "x")), metric=metric, bootstrap=20, margin=margin)


def test_seeds_of_two_models_are_two_models(tmp_path: Path) -> None:
    one = make_run(tmp_path / "a0", "binary", CLASSES["binary"])
    folders = [
        one,
        *(worse(one, tmp_path / f"{m}{n}", m, b) for m, n, b in (("a", 1, 0.02), ("b", 0, 0.3), ("b", 1, 0.33))),
    ]
    for n, folder in enumerate(folders):
        run = json.loads((folder / "run.json").read_text())
        run |= {"model": "ab"[n // 2], "seed": n % 2, "overrides": [f"model={'ab'[n // 2]}", f"seed={n % 2}"]}
        (folder / "run.json").write_text(json.dumps(run))
    found = compare(read(*folders), bootstrap=200)
    (difference,) = found["differences"]
    areas = []
    for folder in folders:
        table = pd.read_csv(folder / "test_predictions.csv")
        areas.append(roc_auc_score(table["target"] == "sick", table["prob_sick"]))
    entry = difference["metrics"]["auroc"]
    assert entry["value"] == pytest.approx(np.mean(areas[2:]) - np.mean(areas[:2])) and len(difference["runs"]) == 2
    assert "b (2 seeds)" in found["says"][0] and any("patients and of seeds" in note for note in found["notes"])
    alone = compare(read(folders[0], folders[2]), bootstrap=200)["differences"][0]["metrics"]["auroc"]
    assert np.ptp(entry["ci95"]) != np.ptp(alone["ci95"])


def as_cross_validation(folder: Path, fold: np.ndarray, offsets: list[float]) -> np.ndarray:
    """Make a run one of folds, whose networks are off by these log-odds; returns the probabilities."""
    table = pd.read_csv(folder / "test_predictions.csv", dtype=str, keep_default_na=False)
    names = [name for name in table if name.startswith("prob_")]
    p = table[names[-1]].astype(float).to_numpy()
    p = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + np.array(offsets)[fold])))
    table[names[-1]], table[names[0]] = p, 1 - p
    table.to_csv(folder / "test_predictions.csv", index=False)
    test = json.loads((folder / "test_metrics.json").read_text())
    test["folds"], test["cross_validation"] = {"auroc": {}}, {"folds": [{"repeat": 0, "fold": k} for k in range(2)]}
    test["metrics"] = {"auroc_within_folds": {"value": 0.5, "ci95": None}} | test["metrics"]
    (folder / "test_metrics.json").write_text(json.dumps(test))
    table[["case", "patient"]].assign(split="test", fold=fold).to_csv(folder / "splits.csv", index=False)
    return p


def test_two_cross_validations_are_compared_within_their_folds(tmp_path: Path) -> None:
    """By scikit-learn fold by fold, weighted by pairs; pooled, the same networks differ only by their offsets."""
    one = make_run(tmp_path / "one", "binary", CLASSES["binary"])
    two = Path(shutil.copytree(one, tmp_path / "two"))
    table = pd.read_csv(one / "test_predictions.csv", dtype=str, keep_default_na=False)
    y = (table["target"] == CLASSES["binary"][-1]).to_numpy()
    folds = [np.arange(len(y)) % 2, np.arange(len(y)) // 2 % 2]
    probs = [as_cross_validation(one, folds[0], [0.0, 0.0]), as_cross_validation(two, folds[1], [-1.0, 2.0])]
    found = compare(read(one, two), bootstrap=200)
    assert found["metric"] == "auroc_within_folds" and any("each run by its own folds" in n for n in found["notes"])

    def within(p: np.ndarray, fold: np.ndarray) -> float:
        own = [fold == k for k in range(2)]
        pairs = [y[f].sum() * (~y[f]).sum() for f in own]
        return float(np.average([roc_auc_score(y[f], p[f]) for f in own], weights=pairs))

    values = [within(p, fold) for p, fold in zip(probs, folds, strict=True)]
    entry = found["differences"][0]["metrics"]["auroc_within_folds"]
    assert entry["value"] == pytest.approx(values[1] - values[0]) and 0 < entry["p"] <= 1
    low, high = entry["ci95"]
    assert low < entry["value"] < high
    assert found["differences"][0]["metrics"]["auroc"]["value"] < entry["value"] - 0.02
    shutil.copytree(one, tmp_path / "plain")
    plain = json.loads((tmp_path / "plain" / "test_metrics.json").read_text())
    (tmp_path / "plain" / "test_metrics.json").write_text(json.dumps(plain | {"cross_validation": {}}))
    mixed = compare(read(one, tmp_path / "plain"), bootstrap=20)
    assert mixed["metric"] == "auroc" and any("within folds they can be compared where" in n for n in mixed["notes"])
