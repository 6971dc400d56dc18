"""What the eval node says is read once; groups follow the cases that are judged."""

from __future__ import annotations

from medtrain.metric import EvalOptions


def test_keys_of_the_node_that_metrics_take_are_read_and_the_others_left() -> None:
    options = EvalOptions.read({"bootstrap": 30, "prevalence": 0.1, "groups": ["sex"], "split": "test", "seed": 7})
    assert options == EvalOptions(bootstrap=30, prevalence=0.1)
    assert EvalOptions.read({}) == EvalOptions()


def test_groups_are_those_of_the_cases_that_are_judged() -> None:
    options = EvalOptions(30).with_groups({"sex": ["f", "m", "f", "x"]})
    assert options.of_cases([3, 0]) == EvalOptions(30, groups={"sex": ["x", "f"]})
    assert EvalOptions(30).of_cases([3, 0]) == EvalOptions(30)
