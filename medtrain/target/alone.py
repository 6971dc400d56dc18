"""What columns of a table predict without any image: linear models of scikit-learn, with its usual penalties.

Each gives outputs as a network does, so that decision, metrics and intervals are those of any run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Outputs = Callable[[Array], Array]
RARE = 1e-6  # the probability of a class that the training split lacks


def logistic(x_NF: Array, labels_NK: Array) -> Outputs:
    """Fit a logistic regression (C = 1) a class on the cases where it is known: log odds (M, K).

    Args:
        labels_NK: 1, 0, NaN where unknown. A class that is always or never there has constant odds.
    """
    from sklearn.linear_model import LogisticRegression

    parts: list[Outputs] = []
    for label_N in labels_NK.T:
        known = np.isfinite(label_N)
        if len(set(label_N[known].tolist())) > 1:
            model = LogisticRegression(max_iter=1000).fit(x_NF[known], label_N[known].astype(int))
            parts.append(model.decision_function)
        else:
            always = known.any() and label_N[known][0] == 1
            parts.append(partial(_constant, odds=float(np.log(RARE)) * (-1 if always else 1)))
    return lambda x: np.stack([part(x) for part in parts], 1)


def _constant(x_MF: Array, odds: float) -> Array:
    return np.full(len(x_MF), odds)


def multinomial(x_NF: Array, labels_NC: Array) -> Outputs:
    """Fit a multinomial logistic regression (C = 1) on the known cases: log probabilities (M, C)."""
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(labels_NC).all(1)
    number_N, classes = labels_NC[known].argmax(1), labels_NC.shape[1]
    if len(set(number_N.tolist())) < 2:
        return lambda x: np.tile(np.log(np.where(np.arange(classes) == number_N[0], 1.0, RARE)), (len(x), 1))
    model = LogisticRegression(max_iter=1000).fit(x_NF[known], number_N)

    def outputs(x: Array) -> Array:
        logits = np.full((len(x), classes), np.log(RARE))
        logits[:, model.classes_] = model.predict_log_proba(x)
        return logits

    return outputs


def ridge(x_NF: Array, values_NV: Array) -> Outputs:
    """Fit a ridge regression (alpha = 1) a quantity on the cases where it is known: (M, V)."""
    from sklearn.linear_model import Ridge

    models = []
    for value_N in values_NV.T:
        known = np.isfinite(value_N)
        models.append(Ridge(alpha=1.0).fit(x_NF[known], value_N[known]))
    return lambda x: np.stack([model.predict(x) for model in models], 1)


def cox(x_NF: Array, follow_up_N2: Array, penalty: float = 1.0) -> Outputs:
    """Fit Cox's proportional hazards with Efron's ties: log hazard ratios (M, 1).

    Args:
        follow_up_N2: time, and 1 for an event, 0 for a censored case; rows with NaN are left out.
        penalty: of half the squared weights, against the sum over events.
    """
    import torch

    from medtrain.core.partial_likelihood import log_losses

    known = np.isfinite(follow_up_N2).all(1)
    x, time = torch.from_numpy(x_NF[known]), torch.from_numpy(follow_up_N2[known, 0])
    event, weights = torch.from_numpy(follow_up_N2[known, 1] > 0.5), x_NF.shape[1]
    beta_F = torch.zeros(weights, dtype=torch.float64, requires_grad=True)
    steps = {"max_iter": 200, "tolerance_grad": 1e-10, "tolerance_change": 1e-14}
    solver = torch.optim.LBFGS([beta_F], line_search_fn="strong_wolfe", **steps)  # type: ignore[arg-type]

    def objective() -> float:
        solver.zero_grad()
        loss = log_losses(x @ beta_F, time, event).sum() + penalty / 2 * (beta_F**2).sum()
        loss.backward()
        return float(loss)

    with torch.enable_grad():
        solver.step(objective)
    fitted = beta_F.detach().numpy()
    return lambda x_MF: (x_MF @ fitted)[:, None]
