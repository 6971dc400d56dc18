"""The metrics of a kind of target, called by its name and with values as the target codes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medtrain import metric
from medtrain.target import Decision, Predicted, target_of
from medtrain.target.classes import ClassTarget


def target(kind: str, classes: Any) -> ClassTarget:
    """The target; `classes` names, or their number."""
    names = classes if isinstance(classes, Sequence) else [str(n) for n in range(classes)]
    made = target_of(kind)(tuple(names))
    if not isinstance(made, ClassTarget):
        raise ValueError(f"kind {kind!r} has no probabilities")
    return made


def evaluate(kind, probs, values, predicted, classes, patients=None, bootstrap=2000, seed=0, **options):
    return target(kind, classes).evaluate(probs, values, predicted, patients, bootstrap=bootstrap, seed=seed, **options)


def paired_differences(kind, values, one, other, classes, patients=None, bootstrap=2000, seed=0):
    of = target(kind, classes)
    return of.differences(*(of.cases(p, values, said, patients) for p, said in (one, other)), bootstrap, seed)


def abstention_curve(kind, probs, values, predicted, classes, uncertainty, **options):
    of = target(kind, classes)
    return of.abstention(of.cases(probs, values, predicted), np.asarray(uncertainty), **options)


def doubt(kind, probs, thresholds=()):
    return target(kind, np.shape(probs)[1]).nearness(probs, thresholds)


def spread(kind, probs, predicted):
    return target(kind, np.shape(probs)[2]).disagreement(probs, predicted)


def fit_decision(kind, logits, values, classes, policy=0.5):
    return target(kind, classes).fit_decision(logits, values, policy)


def fit_temperature(kind, logits, values):
    return target(kind, _width(kind, logits)).fit_temperature(logits, values)


def probabilities(logits, kind, temperature=1.0):
    return target(kind, _width(kind, logits)).probabilities(logits, temperature)


def parse_policy(policy, kind="binary"):
    target(kind, 2).check_policy(policy)
    return metric.parse_policy(policy)


def predict(decision: Decision, probs, kind: str):
    return target(kind, np.shape(probs)[1]).predict(probs, decision)


def predictions_table(spec, rows, probs, predicted, values=None):
    """The table of single predictions."""
    return spec.target.table(Predicted(rows, probs, predicted, values, np.zeros(len(rows))))


def count_labels(kind, n_classes, values):
    return target(kind, n_classes).count(np.asarray(values))


def _width(kind: str, logits: Any) -> int:
    return 2 if kind == "binary" else np.shape(logits)[1]
