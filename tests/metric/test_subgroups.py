"""Differences between subgroups against a bootstrap that draws patients in earnest, and limits by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from medtrain.metric import Cases, EvalOptions, PositiveSheet, Study, evaluate
from medtrain.metric.subgroups import difference, group_differences


def study(seed: int, apart: float = 0.0, shared: bool = False, bootstrap: int = 600) -> tuple[Study, np.ndarray]:
    """200 patients of two cases; with `shared` each has a case in either group; `apart`: how much worse group b is."""
    draw = np.random.default_rng(seed)
    patient_N = np.repeat(np.arange(200), 2)
    group_N = np.tile(["a", "b"], 200) if shared else np.where(patient_N < 120, "a", "b")
    ill_N = draw.random(400) < 0.4
    score_N = draw.normal(size=400) + draw.normal(size=200)[patient_N] + ill_N * (2 - apart * (group_N == "b"))
    p = 1 / (1 + np.exp(-(score_N - 1)))
    cases = Cases(
        np.stack([1 - p, p], 1), np.stack([~ill_N, ill_N], 1).astype(float),
        np.stack([p < 0.5, p >= 0.5], 1), ["well", "sick"], [f"p{n}" for n in patient_N],
    )  # fmt: skip
    options = EvalOptions(bootstrap=bootstrap, groups={"site": group_N.tolist()})
    return studied(cases, options), patient_N


def studied(cases: Cases, options: EvalOptions) -> Study:
    return Study(cases, PositiveSheet, options, {"sick": 0.5}, ["sick"], evaluate(cases, PositiveSheet, options))


@pytest.mark.parametrize("shared", [False, True])
def test_a_difference_is_that_of_the_groups_and_its_spread_that_of_patients(shared: bool) -> None:
    one, _ = study(0, apart=0.6, shared=shared)
    rows = group_differences(one)["group_differences"]
    assert [(row["group"], row["reference"], row["metric"]) for row in rows] == [
        ("b" if not shared else rows[0]["group"], "a" if not shared else rows[0]["reference"], name)
        for name in ("auroc", "sensitivity", "specificity")
    ]
    names, ill, p = (
        np.array(one.options.groups["site"]),  # type: ignore[index]
        one.cases.target_NC[:, 1],
        one.cases.probs_NC[:, 1],
    )

    def difference(at: np.ndarray) -> float:
        group, reference = (at[names[at] == rows[0][key]] for key in ("group", "reference"))
        return float(roc_auc_score(ill[group], p[group]) - roc_auc_score(ill[reference], p[reference]))

    assert rows[0]["value"] == pytest.approx(difference(np.arange(400)))
    draw, drawn = np.random.default_rng(1), []
    for _ in range(300):
        drawn.append(difference(np.concatenate([2 * (n := draw.integers(0, 200, 200)), 2 * n + 1])))
    low, high = rows[0]["ci95"]
    assert (high - low) / 2 == pytest.approx(1.97 * np.std(drawn), rel=0.15)


def test_p_values_are_corrected_over_all_columns_groups_and_metrics() -> None:
    one, _ = study(3, apart=1.2)
    groups = {**one.options.groups, "sex": ["f", "m", "f", "x"] * 100}  # type: ignore[dict-item]
    rows = group_differences(studied(one.cases, EvalOptions(bootstrap=400, groups=groups)))["group_differences"]
    assert len(rows) == 3 * (1 + 2)
    known = sorted((row["p"], n) for n, row in enumerate(rows))
    running = 0.0
    for place, (p, n) in enumerate(known):
        running = max(running, min(1.0, p * (9 - place)))
        assert rows[n]["p_holm"] == pytest.approx(running)


def test_null_differences_are_rarely_found() -> None:
    found = 0
    for seed in range(40):
        one, _ = study(seed, bootstrap=200)
        found += any(row["p_holm"] < 0.05 for row in group_differences(one)["group_differences"])
    assert found <= 6  # 2 are expected


def test_nothing_is_said_where_nothing_can_be() -> None:
    one, _ = study(5)
    rows = group_differences(
        studied(one.cases, EvalOptions(bootstrap=100, groups={"kind": ["rare"] * 2 + ["a"] * 398}))
    )
    rows = rows["group_differences"]
    assert all(row["p"] is None and row["p_holm"] is None and row["ci95"] is None and row["reason"] for row in rows)
    for options in (EvalOptions(bootstrap=100, groups={"kind": ["a"] * 400}), EvalOptions(bootstrap=100)):
        assert group_differences(studied(one.cases, options)) == {"group_differences": None}
    bare = studied(one.cases, EvalOptions(bootstrap=0, groups=one.options.groups))
    rows = group_differences(bare)["group_differences"]
    assert all(row["value"] is not None and row["ci95"] is None and row["p"] is None for row in rows)


def test_two_perfect_groups_are_not_certain_to_be_alike() -> None:
    """Five of five and nine of nine found: the difference of 0 may be large either way."""
    group, reference = (
        {"n_patients": n, "metrics": {"sensitivity": {"value": 1.0, "ci95": [low, 1.0]}}, "per_class": {}}
        for n, low in ((5, 0.48), (9, 0.66))
    )
    found = difference(group, reference, "sensitivity")
    assert found["value"] == 0 and found["ci95"] == pytest.approx([-0.52, 0.34]) and found["p"] == 1


def test_the_limits_by_hand() -> None:
    """Zou & Donner's equation for independent proportions, and p where the limit would be 0."""
    one = {"n_patients": 50, "metrics": {"auroc": {"value": 0.7, "ci95": [0.6, 0.78]}}, "per_class": {}}
    other = {"n_patients": 80, "metrics": {"auroc": {"value": 0.8, "ci95": [0.72, 0.86]}}, "per_class": {}}
    found = difference(one, other, "auroc")
    assert found["ci95"] == pytest.approx([-0.1 - np.hypot(0.1, 0.06), -0.1 + np.hypot(0.08, 0.08)])
    out = 0.1 / (np.hypot(0.08, 0.08) / stats.t.ppf(0.975, 49))
    assert found["p"] == pytest.approx(2 * stats.t.cdf(-out, 49))
    closer = difference(one, other, "auroc", related=0.5)["ci95"]
    assert closer[1] - closer[0] < found["ci95"][1] - found["ci95"][0]
