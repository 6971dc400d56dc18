"""Decisions by hand-worked cases; a temperature that is known is found; a decision belongs to one checkpoint."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import roc_curve

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.io.files import sha256
from medtrain.metric.thresholds import fit_threshold
from medtrain.target import Decision, target_of
from tests.metric.by_kind import fit_decision, fit_temperature, parse_policy, predict, probabilities

PROBS = np.asarray([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
TRUTH = np.asarray([0, 0, 0, 1, 0, 1, 0, 1, 1], dtype=bool)


@pytest.mark.parametrize(
    ("policy", "threshold"),
    [
        (0.25, 0.25),
        ("0.25", 0.25),
        ("sensitivity@1.0", 0.4),  # all of .4 .6 .8 .9
        ("sensitivity@0.75", 0.6),  # three of four
        ("sensitivity@0.76", 0.4),
        ("sensitivity@0.01", 0.9),
        ("specificity@0.8", 0.6),  # .1 .2 .3 .5 of five negatives stay below .6
        ("specificity@0.6", 0.4),
        ("specificity@1", 0.8),
        ("youden", 0.4),  # .4: 1 + 3/5; .6: 3/4 + 4/5 is less; .8: 1/2 + 1 is less
    ],
)
def test_policies_by_hand(policy, threshold):
    assert fit_threshold(PROBS, TRUTH, parse_policy(policy)) == threshold


def test_specificity_can_ask_for_more_than_any_probability():
    threshold = fit_threshold(PROBS[:5], np.asarray([1, 0, 0, 0, 0], dtype=bool), parse_policy("specificity@1"))
    assert 0.5 < threshold < 0.5000001


def test_shares_are_counted_not_rounded():
    """0.7 x 10 is 7.000000000000001 in floating point and still means seven of ten."""
    probs = np.linspace(0.1, 1.0, 10)
    assert fit_threshold(np.r_[probs, 0.0], np.arange(11) < 10, parse_policy("sensitivity@0.7")) == probs[3]


def test_youden_is_scikit_learns_roc_curve_at_its_best():
    rng = np.random.default_rng(1)
    truth = rng.random(200) < 0.4
    probs = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1).round(2)
    fpr, tpr, thresholds = roc_curve(truth, probs, drop_intermediate=False)
    assert fit_threshold(probs, truth, parse_policy("youden")) == thresholds[np.argmax((tpr - fpr).round(12))]


@pytest.mark.parametrize("policy", ["best", "sensitivity", "sensitivity@95", "specificity@0", 1.5, "nan", True, None])
def test_bad_policies_name_the_key_and_what_is_allowed(policy):
    with pytest.raises(UsageError, match=r"eval\.threshold=.*youden, sensitivity@X or specificity@X"):
        parse_policy(policy)


def test_multiclass_takes_no_threshold():
    assert fit_decision("multiclass", np.eye(3), [0, 1, 2], list("abc"), 0.5).thresholds == {}
    with pytest.raises(UsageError, match=r"eval\.threshold=youden.*multiclass"):
        parse_policy("youden", "multiclass")


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_a_known_temperature_is_found(kind, temperature):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.5, size=(6000, 1 if kind == "binary" else 3))
    probs = probabilities(logits, kind)
    if kind == "multiclass":
        targets = (rng.random((6000, 1)) > probs.cumsum(1)).sum(1)
    else:
        targets = (rng.random(logits.shape) < probs[:, -logits.shape[1] :]).astype(float)
        targets[:100] = np.nan
    found = fit_temperature(kind, logits * temperature, targets[:, 0] if kind == "binary" else targets)
    assert found == pytest.approx(temperature, rel=0.08)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [([], []), ([1.0, -2.0], [1, 1]), ([3.0, -1.0], [1, 0]), ([0.0, 0.0], [1, 0]), ([1.0, 2.0], [np.nan, np.nan])],
)
def test_degenerate_data_leave_the_temperature_at_one(logits, targets):
    assert fit_temperature("binary", logits, targets) == 1.0


def test_worse_than_chance_stays_within_bounds():
    assert 19 < fit_temperature("binary", [3.0, -3.0, 3.0], [0, 1, 0]) <= 20


def test_probabilities_have_one_column_a_class():
    binary = probabilities([0.0, 2000.0, -2000.0], "binary", 2.0)
    assert binary.tolist() == [[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]]
    assert probabilities([[2.0, 0.0]], "multiclass", 2.0)[0, 0] == pytest.approx(np.e / (1 + np.e))
    assert probabilities([[2.0, 0.0]], "multilabel", 2.0)[0].tolist() == pytest.approx([np.e / (1 + np.e), 0.5])


def test_a_decision_predicts():
    probs = np.asarray([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    assert predict(Decision(0.5, 1.0, {"yes": 0.5}), probs, "binary").tolist() == [0, 1, 1]
    assert predict(Decision(), probs, "multiclass").tolist() == [0, 0, 1]
    assert predict(Decision(0.5, 1.0, {"a": 0.6, "b": 0.4}), probs, "multilabel").tolist() == [[1, 0], [0, 1], [0, 1]]
    with pytest.raises(ValueError, match="thresholds"):
        predict(Decision(), probs, "binary")


def test_fit_decision_by_label(caplog):
    logits = np.log(PROBS / (1 - PROBS))
    two = np.stack([logits, logits], 1)
    targets = np.stack([TRUTH.astype(float), np.zeros(9)], 1)
    with caplog.at_level("WARNING"):
        decision = fit_decision("multilabel", two, targets, ["a", "b"], "sensitivity@0.75")
    assert decision.thresholds["a"] == pytest.approx(probabilities(logits, "binary", decision.temperature)[5, 1])
    assert decision.thresholds["b"] == 0.5 and "b: no positive case" in caplog.text
    assert list(fit_decision("binary", logits, TRUTH, ["no", "yes"]).thresholds) == ["yes"]


def test_a_decision_belongs_to_its_checkpoint(tmp_path):
    checkpoint, path = tmp_path / "best.ckpt", tmp_path / "decision.json"
    checkpoint.write_bytes(b"weights")
    decision = Decision("youden", 1.5, {"b": 0.2, "a": 0.123456789012345678})
    decision.save(path, hashlib.sha256(b"weights").hexdigest())
    loaded = Decision.load(path, checkpoint)
    assert loaded == decision and list(loaded.thresholds) == ["b", "a"]
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(MedtrainError, match="another checkpoint"):
        Decision.load(path, checkpoint)
    checkpoint.write_bytes(b"weights")
    plain = json.loads(path.read_text())
    wrong = ({"warnings": "abc"}, {"warnings": [1]}, {"basis": 7}, {"no_sets": 5}, {"thresholds": {"b": "high"}})
    for text in ("{}", *(json.dumps(plain | entry) for entry in wrong)):
        path.write_text(text)
        with pytest.raises(MedtrainError, match="no readable decision"):
            Decision.load(path, checkpoint)


def patients_of(n: int, each: int) -> list[str]:
    return [f"p{i // each}" for i in range(n)]


def lower_limit(hits: int, n: int) -> float:
    """Clopper and Pearson's, which is below the mid-P limit."""
    return float(beta.ppf(0.025, hits, n - hits + 1))


def test_a_sure_policy_reaches_its_share_with_the_lower_limit():
    rng = np.random.default_rng(2)
    truth = rng.random(800) < 0.5
    probs = rng.random(800) * 0.6 + 0.4 * truth
    plain, sure = (fit_threshold(probs, truth, parse_policy(f"sensitivity@0.9{end}")) for end in ("", "+"))
    hits, n = int((probs[truth] >= sure).sum()), int(truth.sum())
    assert sure < plain and lower_limit(hits, n) > 0.9 - 0.01 and lower_limit(hits - 3, n) < 0.9
    plain, sure = (fit_threshold(probs, truth, parse_policy(f"specificity@0.9{end}")) for end in ("", "+"))
    hits, n = int((probs[~truth] < sure).sum()), int((~truth).sum())
    assert sure > plain and lower_limit(hits, n) > 0.9 - 0.01 and lower_limit(hits - 3, n) < 0.9


def test_a_sure_policy_counts_patients_not_cases():
    rng = np.random.default_rng(3)
    level = np.repeat(rng.random(80), 10)
    truth, patients = np.ones(801, bool), [*patients_of(800, 10), "healthy"]
    truth[-1] = False
    probs = np.append(np.clip(level + rng.normal(0, 0.01, 800), 0, 1), 0.0)
    alone, together = (fit_threshold(probs, truth, parse_policy("sensitivity@0.8+"), "", p) for p in (None, patients))
    assert together < alone - 0.02


def test_too_few_for_a_sure_policy_are_told_with_what_is_done(caplog):
    truth = np.arange(30) < 15
    probs = np.linspace(1, 0.1, 30)
    assert fit_threshold(probs, truth, parse_policy("sensitivity@0.95+"), "sick") == probs[14]
    assert "sick: even with sensitivity 1" in caplog.text and "too few patients (15)" in caplog.text


@pytest.mark.parametrize("policy", ["youden+", "0.5+", "sensitivity@1+", "specificity@+", "f1"])
def test_policies_that_can_not_be_sure(policy):
    with pytest.raises(UsageError, match=r"eval\.threshold"):
        parse_policy(policy)


def test_ties_are_taken_or_left_together():
    probs, truth = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.2]), np.array([1, 1, 1, 0, 0, 0], bool)
    assert fit_threshold(probs, truth, parse_policy("sensitivity@0.5")) == 0.5
    assert fit_threshold(probs, truth, parse_policy("specificity@0.5")) == 0.9
    assert fit_threshold(np.full(6, 0.5), truth, parse_policy("youden")) == 0.5
    never = fit_threshold(np.array([1.0, 1.0, 0.3]), np.array([1, 0, 0], bool), parse_policy("specificity@1"))
    assert never > 1 and Decision("specificity@1", 1.0, {"yes": never}).fault() == ""


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (Decision(0.5, 0.0, {"yes": 0.5}), "temperature 0 is no positive number"),
        (Decision(0.5, -2.0, {"yes": 0.5}), "temperature -2"),
        (Decision(0.5, float("nan"), {"yes": 0.5}), "temperature nan"),
        (Decision(0.5, float("inf"), {"yes": 0.5}), "temperature inf"),
        (Decision(0.5, 1.0, {"yes": 1.5}), "threshold of yes is 1.5"),
        (Decision(0.5, 1.0, {"yes": -0.1}), "threshold of yes is -0.1"),
        (Decision(0.5, 1.0, {"yes": float("nan")}), "threshold of yes is nan"),
        (Decision(0.5, 1.0, {"no": 0.5}), "thresholds of no; this run decides by thresholds of yes"),
        (Decision(0.5, 1.0, {}), "thresholds of nothing"),
        (Decision(0.5, 1e-300, {"yes": 0.5}), "leaves no probability but 0, 1 or 0.5"),
        (Decision("often", 1.0, {"yes": 0.5}), "its policy is none"),
        (Decision("fp_per_image@1", 1.0, {"yes": 0.5}), "its policy is none"),
        (Decision(0.5, 1.0, {"yes": 0.5}, sets={"yes": 0.5}), "limits of prediction sets of yes"),
        (Decision(0.5, 1.0, {"yes": 0.5}, sets={"no": 0.5, "yes": float("nan")}), "limit of yes is nan"),
        (
            Decision(0.5, 1.0, {"yes": 0.5}, sets={"no": 0.5, "yes": 0.5}, absent={"yes": 0.5}),
            "limits of absence of yes",
        ),
        (Decision(0.5, 1.0, {"yes": 0.5}, validation={"other": {}}), "validation names 'other'"),
        (Decision(0.5, 1.0, {"yes": "0.5"}), "'0.5' is no number"),
        (Decision(0.5, True, {"yes": 0.5}), "True is no number"),
    ],
)
def test_a_decision_that_can_not_be_is_refused(decision, text, tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    plain = decision.to_dict() | {"checkpoint_sha256": sha256(tmp_path / "best.ckpt")}
    (tmp_path / "decision.json").write_text(json.dumps(plain))  # as a person may write it: NaN, Infinity
    with pytest.raises(MedtrainError, match=re.escape(text)):
        Decision.load(tmp_path / "decision.json", tmp_path / "best.ckpt", target_of("binary")(("no", "yes")))


def test_thresholds_are_read_by_name(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    Decision(0.5, 1.0, {"b": 0.2, "a": 0.7}).save(tmp_path / "decision.json", sha256(tmp_path / "best.ckpt"))
    read = Decision.load(tmp_path / "decision.json", tmp_path / "best.ckpt", target_of("multilabel")(("a", "b")))
    assert list(read.thresholds.items()) == [("a", 0.7), ("b", 0.2)]
