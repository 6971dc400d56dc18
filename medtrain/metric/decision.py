"""From logits to a decision: temperature and thresholds, fitted on validation data and kept with the weights.

A threshold chosen on test data flatters the model, and one that belongs to another checkpoint means nothing. So both
numbers are fitted once, on validation data, and stored with the SHA-256 of the checkpoint they belong to.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.io.files import read_json, sha256, write_json
from medtrain.metric.bootstrap import Array
from medtrain.metric.detection import parse_box_policy

log = logging.getLogger(__name__)

ALLOWED = "a number from 0 to 1, youden, sensitivity@X or specificity@X with 0 < X <= 1 (such as sensitivity@0.95)"
COLDEST, HOTTEST = 0.05, 20.0
KINDS = ("binary", "multiclass", "multilabel")
Policy = str | float


@dataclass(frozen=True)
class Decision:
    """How probabilities become predictions.

    Args:
        policy: what was asked for (`eval.threshold`).
        temperature: the logits are divided by it.
        thresholds: positive at this probability or above: binary {positive class: t}, multilabel {class: t} in the
            order of the classes, multiclass {} (the class of the highest probability).
    """

    policy: Policy = 0.5
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)

    def predict(self, probs_NC: npt.ArrayLike, kind: str) -> Array:
        """int64 predictions: binary [N] of 0/1, multiclass [N] of class numbers, multilabel [N, C] of 0/1."""
        probs, limits = np.asarray(probs_NC), list(self.thresholds.values())
        wanted = {"binary": 1, "multiclass": len(limits)}.get(kind, probs.shape[1])
        if len(limits) != wanted:
            raise ValueError(f"{len(limits)} thresholds don't fit {kind} probabilities of shape {probs.shape}")
        return decide(kind, probs, limits)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Decision:
        return cls(plain["policy"], float(plain["temperature"]), {k: float(v) for k, v in plain["thresholds"].items()})

    def save(self, path: str | os.PathLike[str], checkpoint_sha256: str, **facts: Any) -> None:
        """Write JSON with the SHA-256 of the checkpoint this decision belongs to, and `facts` for people."""
        write_json(path, self.to_dict() | {"checkpoint_sha256": checkpoint_sha256} | facts)

    @classmethod
    def load(cls, path: str | os.PathLike[str], checkpoint: str | os.PathLike[str]) -> Decision:
        """Read what `save` wrote.

        Raises:
            MedtrainError: unreadable, or fitted for another checkpoint than the file `checkpoint`.
        """
        try:
            plain = read_json(path)
            belongs, decision = plain["checkpoint_sha256"], cls.from_dict(plain)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise MedtrainError(f"{path}: no readable decision ({type(error).__name__}: {error})") from error
        found = sha256(checkpoint)
        if found != belongs:
            raise MedtrainError(
                f"{path} was fitted for another checkpoint: it names SHA-256 {belongs[:12]}..., "
                f"{Path(checkpoint).name} has {found[:12]}.... Thresholds and temperature of one model mean nothing "
                "for another: put the checkpoint that they belong to back, or train again."
            )
        return decision


def decide(kind: str, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
    """`Decision.predict` by bare thresholds: [T], or [N, T] where each case has its own."""
    probs, limit = np.asarray(probs_NC), np.asarray(limits, dtype=np.float64)
    if kind == "multiclass":
        return np.asarray(probs.argmax(axis=1), dtype=np.int64)
    if kind == "binary":
        return np.asarray((probs[:, -1:] >= limit)[:, 0], dtype=np.int64)
    return np.asarray(probs >= limit, dtype=np.int64)


def parse_policy(policy: Policy, kind: str = "binary") -> tuple[str, float]:
    """(``fixed``, threshold), (``youden``, nan), (``sensitivity``, X) or (``specificity``, X); of boxes
    see `parse_box_policy`.

    Raises:
        UsageError: anything else, or a policy other than 0.5 for a multiclass problem, which has no threshold.
    """
    if kind == "boxes":
        return parse_box_policy(policy)
    name, value = "", math.nan
    text = str(policy).strip()
    match = re.fullmatch(r"(sensitivity|specificity)@([0-9.]+(?:e-?\d+)?)", text)
    if text == "youden":
        name = text
    else:
        try:
            name, value = (match[1], float(match[2])) if match else ("fixed", float(text))
        except ValueError:
            name = ""
    allowed = name == "youden" or (0 <= value <= 1 if name == "fixed" else 0 < value <= 1)
    if not name or not allowed or isinstance(policy, bool):
        raise UsageError(f"eval.threshold={policy} is not {ALLOWED}.")
    if kind == "multiclass" and (name, value) != ("fixed", 0.5):
        raise UsageError(
            f"eval.threshold={policy} has no meaning for a multiclass problem, which takes the class of the highest "
            f"probability: leave it at 0.5. (Of binary and multilabel problems it is {ALLOWED}.)"
        )
    return name, value


def fit_decision(
    kind: str, logits_NK: npt.ArrayLike, targets: npt.ArrayLike, classes: Sequence[str], policy: Policy = 0.5
) -> Decision:
    """Fit temperature, then thresholds on the resulting probabilities, on validation data.

    Args:
        kind: ``binary`` (one logit), ``multiclass`` or ``multilabel`` (one logit a class).
        logits_NK: [N, K], or [N] for binary.
        targets: binary [N] 0/1, multiclass [N] class numbers, multilabel [N, C] 0/1; NaN or negative: unknown.
        classes: class names in order.
        policy: a number, ``youden``, ``sensitivity@X`` or ``specificity@X``. Without positives or without negatives
            on validation a policy can't be fitted: that threshold is 0.5, with a warning in the log.

    Raises:
        UsageError: a policy that doesn't exist or doesn't apply.
    """
    parse_policy(policy, kind)
    temperature = fit_temperature(kind, logits_NK, targets)
    probs_NC = probabilities(logits_NK, kind, temperature)
    return Decision(policy, temperature, fit_thresholds(kind, probs_NC, targets, classes, policy))


def fit_thresholds(
    kind: str, probs_NC: npt.ArrayLike, targets: npt.ArrayLike, classes: Sequence[str], policy: Policy = 0.5
) -> dict[str, float]:
    """The thresholds of a `Decision` from calibrated probabilities [N, C]; the rest as in `fit_decision`."""
    parsed = parse_policy(policy, kind)
    if kind == "multiclass":
        return {}
    probs, target_NC = np.asarray(probs_NC, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if kind == "binary":
        classes, probs, target_NC = classes[-1:], probs[:, -1:], target_NC.reshape(-1, 1)
    thresholds = {}
    for c, name in enumerate(classes):
        known = target_NC[:, c] >= 0
        thresholds[name] = fit_threshold(probs[known, c], target_NC[known, c] > 0.5, parsed, name)
    return thresholds


def fit_threshold(probs_N: Array, positive_N: Array, parsed: tuple[str, float], name: str = "") -> float:
    """The threshold t (positive: p >= t) that a policy asks for.

    youden: the observed probability with the largest sensitivity + specificity - 1 (Youden 1950), the highest of
    equals. sensitivity@X: the highest t with that sensitivity. specificity@X: the lowest observed probability with
    that specificity (above all of them if need be).
    """
    policy, value = parsed
    if policy == "fixed":
        return value
    positives, negatives = np.sort(probs_N[positive_N])[::-1], np.sort(probs_N[~positive_N])
    if not len(positives) or not len(negatives):
        lacking = "positive" if not len(positives) else "negative"
        log.warning("%s: no %s case in the validation data to fit a threshold on; 0.5 is used", name, lacking)
        return 0.5
    if policy == "sensitivity":
        return float(positives[_needed(value, len(positives)) - 1])
    observed = np.unique(probs_N)
    if policy == "specificity":
        above = observed[observed > negatives[_needed(value, len(negatives)) - 1]]
        return float(above[0]) if len(above) else float(np.nextafter(observed[-1], np.inf))
    found = np.searchsorted(-positives, -observed, side="right") / len(positives)
    rejected = np.searchsorted(negatives, observed, side="left") / len(negatives)
    gain = found + rejected
    return float(observed[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]])


def _needed(share: float, n: int) -> int:
    """How many of n make at least the share, unmoved by rounding (0.7 x 10 is 7, not 7.000000000000001)."""
    return max(1, math.ceil(share * n - 1e-9))


def fit_temperature(kind: str, logits_NK: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017, section 4.2), between 0.05 and 20.

    1.0 where the data can't tell: no labels, a single class, or logits that separate the classes without an error
    (the likelihood then grows without end as the temperature falls).
    """
    margins, loss = _likelihood(kind, _logits(logits_NK), np.asarray(targets, dtype=np.float64))
    if not len(margins) or bool((margins > 0).all()) or not margins.any() or not np.isfinite(margins).all():
        return 1.0
    bounds = (math.log(COLDEST), math.log(HOTTEST))
    fit = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(math.exp(fit.x))


def probabilities(logits_NK: npt.ArrayLike, kind: str, temperature: float = 1.0) -> Array:
    """probs_NC, float64: softmax (multiclass) or sigmoid of logits / temperature; binary gives [1 - p, p]."""
    logits = _logits(logits_NK) / temperature
    if kind == "multiclass":
        return np.asarray(softmax(logits, axis=1))
    if kind == "binary":
        return np.concatenate([expit(-logits), expit(logits)], axis=1)
    if kind == "multilabel":
        return np.asarray(expit(logits))
    raise ValueError(f"kind {kind!r} is none of {KINDS}")


def _logits(logits: npt.ArrayLike) -> Array:
    values = np.asarray(logits, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _likelihood(kind: str, logits_NK: Array, targets: Array) -> tuple[Array, Callable[[float], float]]:
    """By how much each label's logit is on the right side, and the mean negative log-likelihood at a log T.

    No margins where fewer than two classes occur.
    """
    if kind == "multiclass":
        known = targets >= 0
        logits, true = logits_NK[known], targets[known]
        rows = np.arange(len(true))
        at, others = true.astype(np.int64), logits.copy()
        others[rows, at] = -np.inf
        margins = logits[rows, at] - others.max(axis=1, initial=-np.inf)

        def loss(log_t: float) -> float:
            return float(-log_softmax(logits / math.exp(log_t), axis=1)[rows, at].mean())

    else:
        target = targets.reshape(logits_NK.shape)
        known = target >= 0
        true = target[known]
        margins = np.where(true > 0.5, 1.0, -1.0) * logits_NK[known]

        def loss(log_t: float) -> float:
            return float(np.logaddexp(0, -margins / math.exp(log_t)).mean())

    return (margins if len(np.unique(true)) > 1 else margins[:0]), loss
