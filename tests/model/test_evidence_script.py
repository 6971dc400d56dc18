"""scripts/benchmarks/evidence.py: its bags are what it says, and its last row is the most that they allow."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.stats import norm

from medtrain.core.segments import Packed


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("scripts.benchmarks.evidence")


def test_the_likelihood_is_that_of_the_two_kinds_of_bags(script: ModuleType) -> None:
    bags, _ = script.drawn(20, 3, "negative", 2.0)
    logits = script.Likelihood(2.0)(bags)[:, 0]
    for n in range(20):
        x = bags.alone(n).x[:, 0].double().numpy()
        usual = norm.pdf(x).prod()
        faint = np.mean([usual / norm.pdf(v) * norm.pdf(v, 2.0) for v in x])  # any of them, alike
        assert logits[n] == pytest.approx(np.log(faint / usual), abs=1e-4)


@pytest.mark.parametrize(
    ("loud", "expected"), [("negative", (False, True)), ("positive", (True, False)), ("no", (False, False))]
)
def test_the_loud_kind_lies_where_it_should(script: ModuleType, loud: str, expected: tuple[bool, bool]) -> None:
    bags, y = script.drawn(40, 1, loud, 6.0)
    assert len(bags.offsets) == 41 and bags.offsets.diff().min() >= 10
    for n in range(40):
        held = int((bags.alone(n).x[:, 1] > 6).sum())
        assert held == (script.SEVERAL if expected[0 if y[n] else 1] else 0)


def test_nobody_beats_the_likelihood_and_it_takes_no_notice_of_the_loud_kind(script: ModuleType) -> None:
    accuracy, area, moved, plain = script.row("", 0, 1, 6.0)
    assert 0.99 < accuracy < 1 and 0.99 < plain < 1
    assert moved > 0.999 and area > 0.999
    with torch.no_grad():
        by_one = script.judged(lambda bags: largest(bags) - 3.2, 0, "no", 6.0)
    assert by_one[0] <= plain


def largest(bags: Packed) -> torch.Tensor:
    """The largest first feature of each bag: (B, 1)."""
    return torch.stack([bags.alone(n).x[:, 0].max() for n in range(len(bags.offsets) - 1)])[:, None]
