"""How long do intervals take? Every metric of 20,000 cases with 2,000 bootstrap replicates, for each kind of labels.

    OMP_NUM_THREADS=1 python scripts/benchmarks/bootstrap.py [--cases 20000] [--replicates 2000] [--classes 14]

Each case is a patient of its own, which is the slowest. The last column is what the AUROCs alone would take with
scikit-learn, one replicate and class after the other (measured on a few).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from medtrain.target import target_of
from medtrain.target.classes import ClassTarget

TRIED = 10  # replicates of scikit-learn


def fabricate(kind: str, cases: int, classes: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Probabilities, targets and predictions."""
    draw = np.random.default_rng(0)
    if kind == "multiclass":
        target = draw.integers(0, classes, cases)
        probs = softmax(draw.normal(size=(cases, classes)) + 1.5 * np.eye(classes)[target], axis=1)
        return probs, target, probs.argmax(axis=1)
    shares = np.array([0.3]) if kind == "binary" else np.linspace(0.02, 0.2, classes)
    labels = (draw.random((cases, len(shares))) < shares).astype(float)
    probs = expit(draw.normal(size=labels.shape) + 1.5 * labels - 1.5)
    if kind == "multilabel":
        return probs, labels, probs > 0.3
    return np.concatenate([1 - probs, probs], axis=1), labels[:, 0], probs[:, 0] > 0.3


def scikit_learn(probs: NDArray[Any], target: NDArray[Any]) -> float:
    """Seconds of the processor for the AUROC of one replicate and class."""
    draw, started = np.random.default_rng(0), time.process_time()
    for _ in range(TRIED):
        weight = np.bincount(draw.integers(0, len(target), len(target)), minlength=len(target))
        roc_auc_score(target, probs, sample_weight=weight)
    return (time.process_time() - started) / TRIED


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("cases", 20_000), ("replicates", 2000), ("classes", 14)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(argv)
    print("| labels | classes | all metrics: processor, s | clock, s | AUROC alone by scikit-learn, s |")
    print("|---|---|---|---|---|")
    for kind in ("binary", "multiclass", "multilabel"):
        classes = 2 if kind == "binary" else given.classes
        probs, target, predicted = fabricate(kind, given.cases, classes)
        names = [f"class {c}" for c in range(classes)]
        started = time.process_time(), time.monotonic()
        judge = target_of(kind)(tuple(names))
        assert isinstance(judge, ClassTarget)
        judge.evaluate(probs, target, predicted, bootstrap=given.replicates)
        took = time.process_time() - started[0], time.monotonic() - started[1]
        column = target[:, 0] if kind == "multilabel" else target == target.max()
        one = scikit_learn(probs[:, 0 if kind == "multilabel" else -1], column)
        # curves of a binary problem's two classes are one another's mirror; several classes have the pooled one too
        others = one * given.replicates * (1 if kind == "binary" else 2 * classes)
        print(f"| {kind} | {classes} | {took[0]:.1f} | {took[1]:.1f} | {others:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
