"""What columns of a table predict without any image: linear models of scikit-learn, with its usual penalties.

Each gives outputs as a network does, so that decision, metrics and intervals are those of any run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RARE = 1e-6  # the probability of a class that the training split lacks


@dataclass(frozen=True)
class Linear:
    """Outputs (M, K) of columns (M, F): ``x @ weights + bias``.

    Args:
        weights: (F, K). bias: (K,).
        classes: numbers of the K classes among `width`, whose log probabilities are the outputs; others are `RARE`.
            None: the outputs are what they are.
        width: the number of all classes.
    """

    weights_FK: Array
    bias_K: Array
    classes: tuple[int, ...] | None = None
    width: int = 0

    def __call__(self, x_MF: Array) -> Array:
        outputs_MK = x_MF @ self.weights_FK + self.bias_K
        if self.classes is None:
            return np.asarray(outputs_MK)
        whole_MC = np.full((len(x_MF), self.width), np.log(RARE))
        whole_MC[:, self.classes] = outputs_MK - np.logaddexp.reduce(outputs_MK, axis=1, keepdims=True)
        return whole_MC

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON takes them."""
        classes = None if self.classes is None else list(self.classes)
        return {"weights": self.weights_FK.tolist(), "bias": self.bias_K.tolist(), "classes": classes, "of": self.width}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        classes = None if plain["classes"] is None else tuple(plain["classes"])
        bias_K = np.array(plain["bias"], np.float64)
        return cls(np.array(plain["weights"], np.float64).reshape(-1, len(bias_K)), bias_K, classes, int(plain["of"]))


def logistic(x_NF: Array, labels_NK: Array) -> Linear:
    """Fit a logistic regression (C = 1) a class on the cases where it is known: log odds.

    Args:
        labels_NK: 1, 0, NaN where unknown. A class that is always or never there has constant odds.
    """
    from sklearn.linear_model import LogisticRegression

    weights_FK, bias_K = np.zeros((x_NF.shape[1], labels_NK.shape[1])), np.zeros(labels_NK.shape[1])
    for k, label_N in enumerate(labels_NK.T):
        known = np.isfinite(label_N)
        if len(set(label_N[known].tolist())) > 1:
            model = LogisticRegression(max_iter=1000).fit(x_NF[known], label_N[known].astype(int))
            weights_FK[:, k], bias_K[k] = model.coef_[0], model.intercept_[0]
        else:
            always = known.any() and label_N[known][0] == 1
            bias_K[k] = np.log(RARE) * (-1 if always else 1)
    return Linear(weights_FK, bias_K)


def multinomial(x_NF: Array, labels_NC: Array) -> Linear:
    """Fit a multinomial logistic regression (C = 1) on the known cases: log probabilities (M, C)."""
    from sklearn.linear_model import LogisticRegression

    known, classes = np.isfinite(labels_NC).all(1), labels_NC.shape[1]
    number_N = labels_NC[known].argmax(1)
    there = sorted(set(number_N.tolist()))
    weights_FK, bias_K = np.zeros((x_NF.shape[1], len(there))), np.zeros(len(there))
    if len(there) > 1:
        model = LogisticRegression(max_iter=1000).fit(x_NF[known], number_N)
        weights_FK[:, -len(model.coef_) :], bias_K[-len(model.coef_) :] = model.coef_.T, model.intercept_
    return Linear(weights_FK, bias_K, tuple(there), classes)


def ridge(x_NF: Array, values_NV: Array) -> Linear:
    """Fit a ridge regression (alpha = 1) a quantity on the cases where it is known."""
    from sklearn.linear_model import Ridge

    models = []
    for value_N in values_NV.T:
        known = np.isfinite(value_N)
        models.append(Ridge(alpha=1.0).fit(x_NF[known], value_N[known]))
    weights_FV = np.stack([model.coef_ for model in models], 1)
    return Linear(weights_FV, np.array([float(model.intercept_) for model in models]))


def cox(x_NF: Array, follow_up_N2: Array, penalty: float = 1.0) -> Linear:
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
    return Linear(beta_F.detach().numpy()[:, None], np.zeros(1))
