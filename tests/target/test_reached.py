"""What was asked for, what validation reached and what the test did, beside each other."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from medtrain.metric import EvalOptions
from medtrain.report.outcome import reached_lines
from medtrain.target import Decision, Predicted, reached, side_by_side
from medtrain.target.reached import misread
from tests.metric.by_kind import target


def judged(hits: int, n: int, well: int) -> dict:
    """`n` positives of which `hits` are found, and `well` negatives of which one is not."""
    p = np.array([0.9] * hits + [0.1] * (n - hits) + [0.9] + [0.1] * (well - 1))
    y = np.array([1] * n + [0] * well)
    rows = pd.DataFrame({"case": [f"c{i}" for i in range(n + well)], "patient": [f"p{i}" for i in range(n + well)]})
    of = target("binary", ["no", "yes"])
    predicted = Predicted(rows, np.stack([1 - p, p], 1), (p >= 0.5).astype(int), y, np.zeros(n + well))
    return of.judge(predicted, Decision(0.5, 1.0, {"yes": 0.5}), EvalOptions(50)).metrics


def test_a_shortfall_is_what_the_test_lacks() -> None:
    validation, tested = (reached(judged(*sizes), ["yes"]) for sizes in ((19, 20, 30), (45, 50, 60)))
    assert validation["yes"]["positive"] == 20 and validation["yes"]["negative"] == 30
    assert validation["yes"]["sensitivity"]["value"] == 0.95 and validation["yes"]["sensitivity"]["ci95"]
    assert tested["yes"]["specificity"]["value"] == pytest.approx(59 / 60) and "ppv" not in tested["yes"]
    parse = target("binary", ["no", "yes"]).grammar.parse
    point = side_by_side(parse("sensitivity@0.95"), validation, tested)["yes"]
    assert point["short_by"] == pytest.approx(0.05) and point["asked"] == {"metric": "sensitivity", "value": 0.95}
    (line,) = reached_lines({"operating_point": {"yes": point}})
    assert line.startswith("Sensitivity of yes, 0.95 asked for: validation 0.950 (") and line.endswith(": 0.050 short")
    assert "20 positive cases), test 0.900 (" in line and "50 positive cases): 0.050" in line
    assert side_by_side(parse("specificity@0.95"), validation, tested)["yes"]["short_by"] == 0
    none = side_by_side(parse("youden"), {}, tested)["yes"]
    assert none["asked"] is None and none["short_by"] is None and none["validation"] is None
    assert reached_lines({"operating_point": {"yes": none}}) == []


def test_what_validation_reached_is_read_as_it_is_written() -> None:
    """A null value or interval is right; a half, a word or a share of 3 is not, in any class or entry."""
    right = reached(judged(19, 20, 30), ["yes"])["yes"]
    boxes = {key: value for key, value in right.items() if key not in ("negative", "specificity")}
    unknown = {"value": None, "ci95": None, "reason": "no positive case"}
    for entries in (right, right | {"sensitivity": unknown}, boxes | {"ppv": {"value": 0.2, "ci95": None}}):
        assert misread(json.loads(json.dumps({"yes": entries}))) == ""
    assert misread({}) == ""
    wrong: list[tuple[object, str]] = [
        (3, "of b is 3, no counts"),
        (None, "is None"),
        ({}, "no positive"),
        (boxes, "no negative"),
        (right | {"positive": "x"}, "no positive that there can be: 'x'"),
        (right | {"negative": -1}, "no negative"),
        (right | {"positive": True}, "no positive"),
        (right | {"positive": float("nan")}, "no positive"),
        (right | {"sensitivity": 0.9}, "no sensitivity"),
        (right | {"sensitivity": {"value": 0.9}}, "no sensitivity"),
        (right | {"sensitivity": {"value": 3, "ci95": None}}, "no sensitivity"),
        (right | {"sensitivity": {"value": float("nan"), "ci95": None}}, "no sensitivity"),
        (right | {"specificity": {"value": None, "ci95": [0.1, 0.2]}}, "no specificity"),
        (right | {"specificity": {"value": 0.2, "ci95": [0.3, 0.1]}}, "no specificity"),
        (right | {"specificity": {"value": 0.2, "ci95": [0.1]}}, "no specificity"),
        (boxes | {"ppv": "high"}, "no ppv"),
    ]
    for entries, said in wrong:
        assert said in misread({"a": right, "b": entries}), entries
