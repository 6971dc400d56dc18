"""What the pages tell users to type is what the command takes: numbers of keys, wherever a page writes key=number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtrain.config.schema import wrong

ROOT = Path(__file__).parents[2]
WRITTEN = re.compile(r"(?<![\w./=-])([a-z_]+(?:\.[a-z_0-9]+)+)=(-?[0-9.]+(?:e-?[0-9]+)?)(?![\w.@-])")
REFUSED = "docs/troubleshooting.md"  # shows what is wrong


def packaged() -> dict[str, Any]:
    """Values of all keys of nodes without a `_target_`, as the configuration files have them."""
    values: dict[str, Any] = {}

    def walk(node: dict[str, Any], path: str) -> None:
        for name, value in node.items():
            key = f"{path}.{name}" if path else name
            if isinstance(value, dict) and "_target_" not in value:
                walk(value, key)
            elif not isinstance(value, dict) and name != "defaults":
                values.setdefault(key, value)

    for file in sorted((ROOT / "configs").glob("*/*.yaml")):
        text = file.read_text()
        content = yaml.safe_load(text)
        if file.parent.name != "experiment" and isinstance(content, dict) and "_target_" not in content:
            walk(content, "" if "# @package _global_" in text else file.parent.name)
    return values


def documented() -> list[tuple[str, str, str]]:
    pages = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
    return sorted(
        {
            (key, number.rstrip("."), page.relative_to(ROOT).as_posix())
            for page in pages
            if page.relative_to(ROOT).as_posix() != REFUSED
            for key, number in WRITTEN.findall(page.read_text())
        }
    )


VALUES = packaged()


@pytest.mark.parametrize(("key", "number", "page"), [row for row in documented() if row[0] in VALUES])
def test_a_documented_number_is_taken(key: str, number: str, page: str) -> None:
    assert not wrong(key, yaml.safe_load(number), VALUES[key]), f"{page}: {key}={number}"
