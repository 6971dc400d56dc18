"""Times to an event: how they are read, what is learned of them, how outputs are read, decided, written and judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from medtrain.core.errors import DataError, MedtrainError, UsageError
from medtrain.data.split import Way, assign_splits
from medtrain.io.table import read_table
from medtrain.loss import cox, cross_entropy, hazards
from medtrain.metric import EvalOptions
from medtrain.metric.baseline import best_cutoff, breslow, fit_slope
from medtrain.metric.follow_up import FollowUp, log_rank
from medtrain.target import DataSpec, Decision, target_from
from medtrain.target.event import Event
from medtrain.target.labels import label_roles, labels_of


def read(folder, rows, **cfg):
    pd.DataFrame(rows, columns=["months", "died"]).to_csv(folder / "t.csv", index=False)
    raw = read_table(folder / "t.csv")
    return labels_of(raw, {"time": "months", "event": "died"}, {"target": "event", **cfg})


def study(n=200, seed=0, slope=1.0):
    draw = np.random.default_rng(seed)
    risk = draw.normal(size=n)
    event, censored = draw.exponential(20 / np.exp(slope * risk)), draw.exponential(25, n)
    return risk, np.stack([np.minimum(event, censored) + 1e-3, event <= censored], axis=1)


def frame(n):
    return pd.DataFrame({"case": [f"c{k}" for k in range(n)], "patient": [f"p{k}" for k in range(n)]})


def test_words_of_events_are_read_and_told(tmp_path):
    rows = [(1, "yes"), (2, "no"), (3.5, "TRUE"), (4, "0"), (5, "1:DECEASED"), (6, "0:LIVING"), (7, "1.0")]
    labels = read(tmp_path, rows, unit_name="months")
    assert labels.values.tolist() == [[1, 1], [2, 0], [3.5, 1], [4, 0], [5, 1], [6, 0], [7, 1]]
    assert not labels.bad and labels.target.unit == "months" and labels.target.longest == 7
    assert any("'1:DECEASED'" in str(problem) and "an event" in str(problem) for problem in labels.notices)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ((0, 1), "bad_label"),
        ((-3, 0), "bad_label"),
        ((999, "maybe"), "bad_label"),
        ((5, 2), "bad_label"),
        ((5, ""), "missing_label"),
        ((5, "unknown?"), "bad_label"),
        ((5, "NA"), "missing_label"),
        (("", 1), "missing_label"),
        (("NaN", 0), "missing_label"),
        (("inf", 1), "bad_label"),
        (("soon", 1), "bad_label"),
    ],
)
def test_what_can_t_be_right_is_a_problem_of_its_row(tmp_path, row, kind):
    labels = read(tmp_path, [(4, 1), row, (6, 0), (9, 1)])
    (place, problem), *more = labels.bad
    assert (place, problem.kind, more) == (1, kind, []) and "t.csv row 3" in str(problem)


def test_no_event_or_classes_are_refused(tmp_path):
    with pytest.raises(DataError, match="no event in 'died'"):
        read(tmp_path, [(4, 0), (5, 0)])
    with pytest.raises(UsageError, match=r"data\.positive"):
        read(tmp_path, [(4, 0), (5, 1)], positive="1")
    assert label_roles({"target": "event"}, None) == ("time", "event")


def test_losses_and_targets_must_fit():
    with pytest.raises(UsageError):
        cox(DataSpec.of("binary", ("0", "1"), 1))
    with pytest.raises(UsageError):
        hazards(DataSpec.of("multiclass", ("a", "b", "c"), 1))
    with pytest.raises(UsageError):
        cross_entropy(DataSpec(Event(("died",)), 1))


def test_target_survives_json_and_keeps_what_it_learned():
    _, values = study()
    target = Event(("died",), "months", (6.0, 12.0), 60.0).learned(values).fitted_to("hazards")
    assert target.n_outputs == len(target.cuts) == 10 and target.fitted_to("cox").n_outputs == 1
    again = target_from(json.loads(json.dumps(target.to_dict())))
    assert again == target
    counted = np.histogram(values[values[:, 1] > 0, 0], [0, *target.cuts])[0]
    assert np.ptp(counted) <= 2  # as many events in each interval


def test_horizons_are_those_asked_for_or_refused():
    target = Event(("died",), "months", (6.0, 12.0), 60.0)
    assert target.evaluated_by({"horizons": [12, 36]}).horizons == (12, 36)
    assert target.evaluated_by({"horizons": None}) == target
    for wrong in ([36, 12], [0, 12], [12, 60]):
        with pytest.raises(UsageError, match=r"eval\.horizons"):
            target.evaluated_by({"horizons": wrong})


def test_splits_are_stratified_by_event_and_time():
    _, values = study(300)
    target = Event(("died",))
    split = assign_splits(target.strata(values), np.arange(300).astype(str), Way()).split
    strata = target.strata(values)
    whole = strata.mean(axis=0)
    for name in ("train", "val", "test"):
        assert np.abs(strata[split == name].mean(axis=0) - whole).max() < 0.04


def test_discrete_hazards_give_chances_by_hand():
    target = Event(("died",), "", (1.0, 1.5, 2.0), 9.0, (1.0, 2.0, 4.0), "hazards")
    logits = np.array([[0.3, -0.4, 1.0]])
    h = 1 / (1 + np.exp(-logits[0]))
    risk, *survival = target.probabilities(logits)[0]
    wanted = [1 - h[0], (1 - h[0]) * np.sqrt(1 - h[1]), (1 - h[0]) * (1 - h[1])]
    assert survival == pytest.approx(wanted)
    assert risk == pytest.approx(np.log(-np.log((1 - h).prod())))


def test_baseline_is_that_of_scikit_survival():
    risk, values = study()
    fit = CoxPHSurvivalAnalysis(ties="breslow").fit(risk[:, None], Surv.from_arrays(values[:, 1] > 0, values[:, 0]))
    truth = FollowUp(values[:, 0], values[:, 1] > 0)
    slope = fit_slope(risk, truth)
    assert slope == pytest.approx(float(fit.coef_[0]), rel=1e-4)
    times, hazard = breslow(risk * float(fit.coef_[0]), truth)
    wanted = [fit.cum_baseline_hazard_(t) for t in times]
    np.testing.assert_allclose(hazard, wanted, rtol=1e-9)


def test_decision_makes_chances_of_risks_that_are_too_sure():
    """Risks three times too far apart: the slope that validation shows takes that back."""
    risk, values = study(2000)
    target = Event(("died",), "", (10.0, 20.0), 99.0)
    decision = target.fit_decision(3 * risk[:, None], values, 0.5)
    assert decision.temperature == pytest.approx(3, rel=0.1)
    own = target.decided_by(decision)
    survival = own.probabilities(3 * risk[:, None], decision.temperature)[:, 1:]
    np.testing.assert_allclose(survival[:, 0], np.exp(-10 / 20 * np.exp(risk)), atol=0.05)
    high = own.predict(own.probabilities(3 * risk[:, None], decision.temperature), decision)
    assert high.mean() == pytest.approx(0.5, abs=0.01)  # the median


def test_exported_operators_read_as_numpy_does():
    risk, values = study()
    target = Event(("died",), "", (3.0, 10.0, 20.0), 99.0)
    decision = target.fit_decision(risk[:, None], values)
    own = target.decided_by(decision)
    got = own.probabilities_of(torch.tensor(risk[:, None])).numpy()
    np.testing.assert_allclose(got, own.probabilities(risk[:, None]), atol=1e-12)
    discrete = target.learned(values).fitted_to("hazards")
    logits = np.random.default_rng(1).normal(size=(7, 10))
    got = discrete.probabilities_of(torch.tensor(logits)).numpy()
    np.testing.assert_allclose(got, discrete.probabilities(logits), atol=1e-12)


def test_cut_off_of_best_is_where_log_rank_is_greatest_on_validation():
    risk, values = study(120)
    truth = FollowUp(values[:, 0], values[:, 1] > 0)
    cut = best_cutoff(risk, truth)
    others = np.quantile(risk, [0.2, 0.4, 0.5, 0.6, 0.8])
    assert all(log_rank(truth, risk >= cut)[0] >= log_rank(truth, risk >= other)[0] - 0.5 for other in others)
    target = Event(("died",), "", (10.0,), 99.0)
    assert target.fit_thresholds(risk[:, None], values, "best")["risk"] == pytest.approx(1 / (1 + np.exp(-cut)))
    with pytest.raises(UsageError, match="best"):
        target.check_policy("youden")


def test_decision_is_kept_and_few_events_are_told(tmp_path):
    risk, values = study(20)
    target = Event(("died",), "", (3.0, 10.0), 99.0)
    decision = target.fit_decision(risk[:, None], values)
    assert "events of validation" in decision.warnings[0]
    (tmp_path / "best.ckpt").write_bytes(b"x")
    from medtrain.io.files import sha256

    decision.save(tmp_path / "decision.json", sha256(tmp_path / "best.ckpt"))
    assert Decision.load(tmp_path / "decision.json", tmp_path / "best.ckpt", target) == decision
    plain = json.loads((tmp_path / "decision.json").read_text())
    shuffled = plain | {"baseline": dict(reversed(plain["baseline"].items()))}  # a map of JSON has no order
    (tmp_path / "decision.json").write_text(json.dumps(shuffled))
    read = Decision.load(tmp_path / "decision.json", tmp_path / "best.ckpt", target)
    assert list(read.baseline.items()) == list(decision.baseline.items())
    hazards = [1.0 / (n + 1) for n in range(len(plain["baseline"]))]
    for baseline, text in (
        ({}, "no baseline hazard"),
        (dict(zip(plain["baseline"], hazards, strict=True)), "falls with time"),
        ({"1.0": -0.1}, "below 0"),
        ({"inf": 0.1}, "no finite number"),
        ({"soon": 0.1}, "no readable decision"),
    ):
        (tmp_path / "decision.json").write_text(json.dumps(plain | {"baseline": baseline}))
        with pytest.raises(MedtrainError, match=text):
            Decision.load(tmp_path / "decision.json", tmp_path / "best.ckpt", target)


def test_tables_are_written_and_read_to_the_last_bit(tmp_path):
    risk, values = study(40)
    target = Event(("died",), "", (3.0, 10.0), 99.0)
    decision = target.fit_decision(risk[:, None], values)
    own = target.decided_by(decision)
    probs = own.probabilities(risk[:, None])
    predicted = own.predictions(frame(40), probs[:, None], own.predict(probs, decision), [0.5], values)
    table = own.table(predicted)
    assert list(table) == ["case", "patient", "time", "event", "risk", "surv_3", "surv_10", "risk_group"]
    table.to_csv(tmp_path / "p.csv", index=False)
    _, again, truth = own.read_file(tmp_path / "p.csv")
    np.testing.assert_array_equal(again, probs)
    np.testing.assert_array_equal(truth, values)


def test_judged_with_groups_and_members_are_averaged():
    risk, values = study(80)
    target = Event(("died",), "", (3.0, 10.0), 99.0)
    decision = target.fit_decision(risk[:, None], values)
    own = target.decided_by(decision)
    members = np.stack([own.probabilities(risk[:, None] + shift) for shift in (-0.2, 0.4)], axis=1)
    predicted = own.predictions(frame(80), members, np.zeros(80), [0.5], values)
    np.testing.assert_allclose(predicted.probs[:, 0], risk + 0.1)
    assert predicted.by == "ensemble" and predicted.doubt == pytest.approx(np.full(80, np.std([0, 0.6], ddof=1)))
    options = EvalOptions(200, groups={"sex": ["m", "f"] * 40})
    judged = own.judge(predicted, decision, options)
    assert judged.metrics["groups"]["sex"]["m"]["n_cases"] == 40
    assert judged.metrics["metrics"]["c_index"]["ci95"] is not None
    assert judged.metrics["risk_groups"]["groups"]["low"]["n"] == 80


def test_comparisons_of_a_cross_validation_stay_within_folds():
    """Two networks whose risks lie apart: pooled they seem worse than either is."""
    risk, values = study(200)
    target = Event(("died",), "", (3.0, 10.0), 99.0)
    parts = []
    for fold, shift in enumerate((0.0, 5.0)):
        own = slice(100 * fold, 100 * fold + 100)
        probs = np.concatenate([risk[own, None] + shift, np.full((100, 2), 0.5)], axis=1)
        parts.append(target.predictions(frame(200).iloc[own], probs[:, None], np.zeros(100), [0.5], values[own]))
    within = target.within_folds(parts, parts[0], EvalOptions(0))["metrics"]["c_index_within_folds"]["value"]
    alone = [target.plain_metrics(part)["c_index"] for part in parts]
    assert min(alone) <= within <= max(alone)


def test_validation_without_comparisons_can_t_choose():
    target = Event(("died",))
    fault = target.cannot_choose(np.array([[3.0, 0], [4, 0], [5, 1]]), ["val_c_index"])
    assert fault is not None and "1 events" in fault[0]
    assert target.cannot_choose(np.array([[3.0, 1], [4, 0]]), ["val_c_index", None]) is None
    assert "val_auroc" in target.cannot_choose(np.array([[3.0, 1], [4, 0]]), ["val_auroc"])[0]


def test_times_of_batches_are_those_of_the_table():
    values = np.array([[3.68, 1], [120.1, 0]])
    event = Event(("died",))
    assert event.from_batch(event.batch_labels(values)).tolist() == values.tolist()
