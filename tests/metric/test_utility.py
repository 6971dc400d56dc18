"""Net benefit against its definition written as a loop, and its intervals against a bootstrap of patients."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.metric.utility import THRESHOLDS, net_benefit


def data(seed: int = 0, patients: int = 60, each: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    patient_N = np.repeat(np.arange(patients), each)
    x_N = draw.normal(size=patients)[patient_N] + draw.normal(size=patients * each) - 1
    return 1 / (1 + np.exp(-x_N)), draw.random(len(x_N)) < 1 / (1 + np.exp(-0.7 * x_N)), patient_N


def benefit(probs: np.ndarray, ill: np.ndarray, t: float) -> tuple[float, float]:
    """Vickers & Elkin's equation for the model and for treating everyone, one case after the other."""
    model = everyone = 0.0
    for p, sick in zip(probs, ill, strict=True):
        worth = 1.0 if sick else -t / (1 - t)
        everyone += worth
        model += worth if p >= t else 0.0
    return model / len(probs), everyone / len(probs)


def test_every_threshold_is_the_definition() -> None:
    probs, ill, patients = data()
    probs = probs.round(2)  # many lie on a threshold, and count as treated
    rows = net_benefit(probs, ill, patients, THRESHOLDS)
    assert [row["threshold"] for row in rows] == pytest.approx(np.arange(1, 100) / 100)
    for row in rows:
        model, everyone = benefit(probs, ill, row["threshold"])
        assert row["model"]["value"] == pytest.approx(model) and row["all"]["value"] == pytest.approx(everyone)
        assert row["gain"]["value"] == pytest.approx(model - max(everyone, 0.0))


def test_a_worked_case() -> None:
    """4 of 10 ill; from 0.2 on 3 ill and 2 well are treated: 3/10 - 2/10 * 0.25, everyone 4/10 - 6/10 * 0.25."""
    ill = np.arange(10) < 4
    probs = np.array([0.9, 0.5, 0.3, 0.1, 0.6, 0.2, 0.1, 0.1, 0.05, 0.05])
    (row,) = net_benefit(probs, ill, np.arange(10), np.array([0.2]))
    assert row["model"]["value"] == pytest.approx(0.25) and row["all"]["value"] == pytest.approx(0.25)
    assert row["gain"]["value"] == pytest.approx(0.0)


@pytest.mark.parametrize("t", [0.1, 0.3, 0.6])
def test_its_interval_is_that_of_a_bootstrap_over_patients(t: float) -> None:
    probs, ill, patients = data(1, patients=150)
    (row,) = net_benefit(probs, ill, patients, np.array([t]))
    draw, drawn = np.random.default_rng(2), []
    for _ in range(600):
        at = np.concatenate([np.flatnonzero(patients == p) for p in draw.integers(0, 150, 150)])
        drawn.append((*benefit_of(probs[at], ill[at], t),))
    model, everyone = np.array(drawn).T
    for name, values in (("model", model), ("all", everyone), ("gain", model - (everyone if ill.mean() > t else 0))):
        half = (row[name]["ci95"][1] - row[name]["ci95"][0]) / 2
        assert half == pytest.approx(1.976 * values.std(), rel=0.12), name  # t of 149 degrees of freedom


def benefit_of(probs: np.ndarray, ill: np.ndarray, t: float) -> tuple[float, float]:
    price = t / (1 - t)
    return (
        float(((probs >= t) & ill).mean() - ((probs >= t) & ~ill).mean() * price),
        float(ill.mean() - (~ill).mean() * price),
    )


def test_no_interval_where_nothing_varies() -> None:
    probs, ill, patients = data()
    last = net_benefit(probs * 0.5, ill, patients, np.array([0.9]))[0]
    assert (last["model"]["value"], last["model"]["ci95"]) == (0.0, None) and last["model"]["reason"]  # nobody treated
    one = net_benefit(probs, ill, np.zeros(len(probs), int), np.array([0.3]))[0]
    assert one["model"]["ci95"] is None and one["model"]["value"] != 0 and "1 patient" in one["model"]["reason"]
