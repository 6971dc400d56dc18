"""Cox's partial likelihood against scikit-survival's fit, a value of lifelines, and by hand."""

import math

import numpy as np
import pytest
import torch
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from medtrain.loss.cox import CoxPartialLikelihood

LIFELINES = (-0.020325273787365206, -97.0775226252487)  # CoxPHFitter().fit(study): its slope and log likelihood, 0.30.3


def study(n=60, seed=5):
    draw = np.random.default_rng(seed)
    x = np.round(draw.normal(size=n), 2)
    return x, draw.integers(1, 9, n).astype(float), draw.integers(0, 2, n)


def loss_of(risk, time, event):
    return CoxPartialLikelihood()(
        torch.as_tensor(risk)[:, None], torch.stack([torch.as_tensor(time), torch.as_tensor(event).double()], 1)
    )


def test_efron_is_zero_slope_where_scikit_survival_has_its_optimum():
    x, time, event = study()
    fit = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(x[:, None], Surv.from_arrays(event > 0, time))
    slope = torch.tensor(fit.coef_, requires_grad=True)
    loss_of(torch.tensor(x) * slope, time, event).backward()
    assert abs(float(slope.grad)) < 1e-9


def test_efron_equals_the_log_likelihood_of_lifelines():
    x, time, event = study()
    slope, log_likelihood = LIFELINES
    assert float(loss_of(x * slope, time, event)) * event.sum() == pytest.approx(-log_likelihood, rel=1e-9)


def test_by_hand_with_two_tied_events():
    risk, time, event = [0.5, -0.2, 0.1, 1.0], [2.0, 2.0, 3.0, 1.0], [1, 1, 0, 0]
    a, b, c = (math.exp(r) for r in risk[:3])
    wanted = (math.log(a + b + c) + math.log(a + b + c - (a + b) / 2) - 0.3) / 2
    assert float(loss_of(risk, time, event)) == pytest.approx(wanted, abs=1e-6)


def test_a_constant_changes_nothing_and_great_risks_stay_finite():
    x, time, event = study()
    assert float(loss_of(x + 7, time, event)) == pytest.approx(float(loss_of(x, time, event)))
    risk = torch.tensor(x * 400, dtype=torch.float32, requires_grad=True)
    loss = loss_of(risk, time, event)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(risk.grad).all()


def test_gradients_are_those_of_differences():
    x, time, event = study(12)
    y = torch.stack([torch.tensor(time), torch.tensor(event).double()], 1)
    assert torch.autograd.gradcheck(
        lambda risk: CoxPartialLikelihood()(risk, y), torch.tensor(x)[:, None].requires_grad_()
    )


def test_without_events_or_known_cases_the_loss_is_zero_with_a_gradient():
    for y in ([[2.0, 0.0], [3.0, 0.0]], [[math.nan, 1.0], [math.nan, 1.0]]):
        risk = torch.ones(2, 1, requires_grad=True)
        loss = CoxPartialLikelihood()(risk, torch.tensor(y))
        loss.backward()
        assert float(loss) == 0 and not risk.grad.any()


def test_unknown_cases_are_left_out():
    x, time, event = study()
    more = loss_of(np.append(x, 9.0), np.append(time, math.nan), np.append(event, 1))
    assert float(more) == pytest.approx(float(loss_of(x, time, event)))
