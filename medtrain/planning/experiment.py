"""A plan as an experiment file, with a reason a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from medtrain.planning.choice import Choice

WIDTH = 116


def as_experiment(title: str, task: str, data: str, given: Mapping[str, Any], choices: Sequence[Choice]) -> str:
    """Write the experiment file's text.

    Args:
        title: its first line, which `medtrain list experiment` prints.
        task, data: options of these groups.
        given: {key or group: value} of what the person has chosen.
        choices: of the rules; what is given is left to the person.
    """
    own = [choice for choice in choices if choice.key not in given]
    words = {**given, **{choice.key: choice.value for choice in own}}
    groups = {"task": task, "data": data} | {key: value for key, value in words.items() if "." not in key}
    nodes: dict[str, Any] = {}
    for key, value in words.items():
        *path, last = key.split(".")
        node = nodes
        for name in path:
            node = node.setdefault(name, {})
        if path:
            node[last] = value
    lines = ["# @package _global_", f"# {title}"]
    lines += [f"# {choice.key}: {_shown(choice.value)}: {choice.reason}" for choice in own]
    lines += ["defaults:", *(f"  - override /{group}: {name}" for group, name in groups.items() if name is not None)]
    body = yaml.safe_dump(nodes, sort_keys=False, allow_unicode=True, width=WIDTH)
    return "\n".join(lines) + "\n\n" + body


def _shown(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True)).removesuffix("\n").removesuffix("\n...").strip()
