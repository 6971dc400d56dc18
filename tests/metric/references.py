"""What metrics are compared with."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression


def recalibrated(target, probs, weight=None):
    """Slope, by scikit-learn's unpenalised regression, and intercept with the slope held at 1, by a root finder."""
    x = logit(np.clip(probs, 1e-12, 1 - 1e-12))
    weight = np.ones(len(x)) if weight is None else weight
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    slope = model.fit(x[:, None], target, weight).coef_[0, 0]
    return slope, brentq(lambda a: weight @ (target - expit(a + x)), -50, 50, xtol=1e-13)
