"""Precision to expect, against published examples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medtrain.metric.precision import auroc_error, effective, expected_precision, share_limits


def test_hanley_and_mcneil() -> None:
    """Their example: 109 CTs, 51 abnormal, 58 normal, W = 0.893, SE = 0.032 (Radiology 1982, table II)."""
    assert auroc_error(0.893, 51, 58) == pytest.approx(0.032, abs=5e-4)


def test_an_auroc_varies_as_much_as_said() -> None:
    draw = np.random.default_rng(0)
    truth = np.repeat([1, 0], [40, 160])
    found = [roc_auc_score(truth, draw.normal(size=200) + 1.19 * truth) for _ in range(400)]
    assert np.std(found) == pytest.approx(auroc_error(float(np.mean(found)), 40, 160), rel=0.12)


def test_wilson() -> None:
    """Newcombe, Statistics in Medicine 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for hits, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert share_limits(hits / n, n) == pytest.approx((low, high), abs=1e-4)


def test_riley() -> None:
    """Riley et al. 2021: an interval of 0.22 about O/E = 1 at a prevalence of 0.018 takes 17,400 cases or so."""
    limits = expected_precision(0.018 * 17_401, 0.982 * 17_401)["observed_over_expected"]["ci95"]
    assert np.log(limits[1]) == pytest.approx(1.96 * np.sqrt(0.982 / (0.018 * 17_401)), rel=1e-3)
    assert limits[1] - limits[0] == pytest.approx(0.22, abs=0.005)


def test_cases_of_a_patient_count_less() -> None:
    assert effective(100, 100) == 100 and effective(100, 25, 1.0) == 25 and effective(100, 25, 0.0) == 100
    assert effective(100, 25) == pytest.approx(100 / 2.5) and effective(5, 0) == 0


def test_more_events_tell_more() -> None:
    widths = []
    for events in (1, 10, 100, 1000):
        found = expected_precision(events, 9 * events)
        widths.append([entry["ci95"][1] - entry["ci95"][0] for entry in found.values()])
    assert (np.diff(widths, axis=0) < 0).all()
    none = expected_precision(0, 50)
    assert none["auroc"]["ci95"] is None and none["sensitivity"]["ci95"] is None and none["specificity"]["ci95"]


@pytest.mark.parametrize("wrong", [(1.2, 5, 5), (0.8, 0, 5), (0.8, 5, 0)])
def test_what_has_no_error_is_refused(wrong: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match="no standard error"):
        auroc_error(*wrong)
    with pytest.raises(ValueError, match="no interval"):
        share_limits(0.5, 0)
