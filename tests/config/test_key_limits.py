"""No number of a packaged key is without limits: what is below them, or beyond 64 bits, is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from medtrain.config import allowed, schema, search
from medtrain.config.compose import compose
from medtrain.core.errors import UsageError
from medtrain.core.ranges import fault, hints
from medtrain.io.yaml_file import read_yaml
from tests.options import all_options, read

Rule = Callable[[Any], str]
SIGNED = {  # where a negative number means something
    "data.mean": "a mean of HU",
    "data.positive": "a label",
    "data.tissue_labels": "labels of a mask",
    "task.entropy": "spreads attention out",
    "trainer.devices": "-1: all there are",
    "transfer.freeze_epochs": "-1: always",
}


def of_target(slot: str, node: dict[str, Any]) -> Iterator[tuple[str, Rule, Any]]:
    called = hints(allowed.allowed(slot, node["_target_"]))
    for key, value in node.items():
        if key not in ("_target_", *allowed.OURS):
            annotation, limits = called.get(key, Any), allowed.SLOTS[slot].limits.get(key, Any)
            yield key, lambda number, a=annotation, b=limits: fault(number, a) or fault(number, b), value


def leaves(node: dict[str, Any], path: str) -> Iterator[tuple[str, Rule, Any]]:
    """Give (key, what is wrong with a number there, packaged value) of a node and those in it."""
    if "_target_" in node and "???" not in str(node["_target_"]):
        yield from ((f"{path}.{key}", rule, value) for key, rule, value in of_target(path.split(".")[0], node))
        return
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from leaves(value, here)
        else:
            yield here, partial(schema.wrong, here, shipped=value), value


def numbers() -> dict[tuple[str, str], Rule]:
    """Find {(key, option): rule} of what is a number, or may be one where it is null."""
    rules = {}
    for group, option in [*all_options(), ("", "train")]:
        if group.startswith("hydra") or group == "experiment":
            continue
        node = read(group, option) if group else root()
        for key, rule, value in leaves(node, "" if group in ("", "task") else group):
            if group == "task" and key.startswith("callbacks."):
                continue  # a node whose class stands in its own option, where its keys have their limits
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number or (value is None and (rule(1) == "" or rule(0.5) == "")):
                rules[key, option] = rule
    return rules


def root() -> dict[str, Any]:
    plain = dict(read_yaml(search.packaged_folder() / f"{search.PRIMARY}.yaml") or {})
    return {key: value for key, value in plain.items() if key not in ("defaults", "hydra")}


def test_no_key_takes_a_negative_number_unless_it_means_something() -> None:
    rules = numbers()
    assert len({key for key, _ in rules}) > 120  # the walk sees them
    takes = {key for (key, _), rule in rules.items() if rule(-1) == "" or rule(-0.5) == ""}
    assert takes == SIGNED.keys(), takes ^ SIGNED.keys()


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("data.split_seed=-1", "it must be at least 0"),
        ("data.phantom_seed=4294967296", "it must be at most 4294967295"),
        ("task.dims=-1", "it can be 2, 3"),
        ("task.dims=4", "it can be 2, 3"),
        ("eval.threshold=-1", "it must be a share"),
        ("eval.threshold=1.5", "it must be a share"),
        ("eval.bootstrap=100000000000000000000", "it is beyond what 64 bits hold"),
        ("data.batch_size=9223372036854775808", "it is beyond what 64 bits hold"),
        ("optimizer.eps=-1e-8", "it must be at least 0"),
    ],
)
def test_it_is_said_of_the_word(word: str, text: str) -> None:
    more = ["+optimizer.eps=-1e-8"] if "eps" in word else [word]
    with pytest.raises(UsageError, match=text):
        compose(["task=xray_cls", *more], signatures=True)
