"""Quantities: how they are read, standardised, and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.io.table import RawTable, read_table
from medtrain.target import DataSpec, Decision, target_from
from medtrain.target.labels import labels_of
from medtrain.target.value import Value


def raw_of(folder: Path, cells: list[str], name: str = "age") -> RawTable:
    file = folder / "t.csv"
    pd.DataFrame({name: cells, "path": range(len(cells))}).to_csv(file, index=False)
    return read_table(file)


def read(folder: Path, cells: list[str], **cfg: object) -> object:
    return labels_of(raw_of(folder, cells), {"label": "age"}, {"target": "value", **cfg})


def test_numbers_are_read_and_what_is_none_is_told_by_row(tmp_path: Path) -> None:
    labels = read(tmp_path, ["61", "62.5", "", "old", "1e2", "inf", "NA"], unit_name="years")
    assert labels.target == Value(("age",), "years")
    assert labels.values[[0, 1, 4], 0].tolist() == [61, 62.5, 100]
    assert [(row, problem.kind) for row, problem in labels.bad] == [
        (2, "missing_label"),
        (3, "bad_label"),
        (5, "bad_label"),
        (6, "missing_label"),
    ]


def test_decimal_commas_are_told_and_thousands_refused(tmp_path: Path) -> None:
    labels = read(tmp_path, ["1,5", "2,25", "3"])
    assert labels.values[:, 0].tolist() == [1.5, 2.25, 3]
    assert [notice.kind for notice in labels.notices] == ["decimal_comma"]
    with pytest.raises(DataError, match="may be 1234 or 1.234"):
        read(tmp_path, ["1,234", "5"])


def test_a_number_that_may_mean_unknown_is_told(tmp_path: Path) -> None:
    labels = read(tmp_path, [str(n) for n in range(40)] + ["-999"])
    assert [(notice.kind, notice.severity) for notice in labels.notices] == [("far_value", "warning")]
    assert "-999" in str(labels.notices[0])


@pytest.mark.parametrize("key", ["classes", "positive"])
def test_classes_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match=f"data.{key}"):
        read(tmp_path, ["1", "2"], **{key: ["1", "2"]})


def test_quantities_as_classes_name_the_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data.target=value"):
        labels_of(raw_of(tmp_path, [str(n) for n in range(40)]), {"label": "age"}, {"target": "auto"})


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data.target=valu is none of .*value"):
        labels_of(raw_of(tmp_path, ["1"]), {"label": "age"}, {"target": "valu"})


def test_standardised_by_what_was_learned_and_back() -> None:
    values = np.array([[1.0, 10], [3, np.nan], [5, 30]])
    target = Value(("a", "b"), "mm").learned(values)
    assert target.value_mean == (3, 20) and target.value_sd == pytest.approx((np.sqrt(8 / 3), 10))
    standard = (values - np.array(target.value_mean)) / np.array(target.value_sd)
    assert np.allclose(target.probabilities(standard[[0, 2]]), values[[0, 2]], atol=1e-12)
    assert target_from(target.to_dict()) == target
    assert DataSpec.from_dict(DataSpec(target, 1, (4, 4)).to_dict()).target == target


def test_what_does_not_vary_is_refused() -> None:
    with pytest.raises(DataError, match="nothing but 4"):
        Value(("a",)).learned(np.full((5, 1), 4.0))


def test_quantiles_stratify() -> None:
    strata_NC = Value(("a",)).strata(np.arange(50.0)[:, None])
    assert strata_NC.sum(axis=0).tolist() == [10] * 5


def gaussian() -> Value:
    return replace(Value(("a",), "mm", (10.0,), (2.0,)), spread=True)


def test_a_predicted_variance_is_in_the_users_unit() -> None:
    read_N2 = gaussian().probabilities(np.array([[0.5, np.log(4.0)]]))
    assert read_N2[0] == pytest.approx([11, 4])  # 2 standard units
    both = gaussian().probabilities_of(torch.tensor([[0.5, np.log(4.0)]], dtype=torch.float64))
    assert both.numpy() == pytest.approx(read_N2)


@pytest.mark.parametrize(
    "target", [gaussian(), Value(("a",), "", (10.0,), (2.0,)), Value(("a", "b"), "", (1.0, 2.0), (1.0, 3.0))]
)
def test_tables_come_back_to_the_last_bit(target: Value, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    probs = target.probabilities(rng.normal(size=(6, target.n_outputs)))
    rows = pd.DataFrame({"case": list("abcdef"), "patient": list("aabbcc")})
    values = rng.normal(10, 2, (6, len(target.classes)))
    predicted = target.predictions(rows, probs[:, None], target.predict(probs, Decision()), [], values)
    file = tmp_path / "p.csv"
    target.table(predicted).to_csv(file, index=False)
    again, probs_NC, truth = target.read_file(file)
    v = len(target.classes)
    assert np.array_equal(probs_NC[:, :v], probs[:, :v]) and np.array_equal(truth, values)
    assert np.allclose(probs_NC, probs)
    assert again["case"].tolist() == list("abcdef")


def test_an_ensembles_interval_holds_the_spread_between_members() -> None:
    rows = pd.DataFrame({"case": ["a"], "patient": ["a"]})
    probs_NSC = np.array([[[8.0, 3.0], [12.0, 3.0]]])
    predicted = gaussian().predictions(rows, probs_NSC, np.array([[10.0]]), [], None)
    assert predicted.probs[0] == pytest.approx([10, np.sqrt(9 + 4)])
    assert predicted.doubt[0] == pytest.approx(np.sqrt(8))  # sd of 8 and 12


def test_what_people_wrote_comes_back_from_a_batch() -> None:
    values = np.array([[5.405], [100.1], [np.nan], [-0.003]])
    assert np.array_equal(Value(("a",)).from_batch(Value(("a",)).batch_labels(values)), values, equal_nan=True)
