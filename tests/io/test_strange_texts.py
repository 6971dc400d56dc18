"""YAML and JSON that somebody else wrote: read, or refused in a line before anything is built of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import MedtrainError
from medtrain.io.files import Unreadable, read_json, read_json_map, why_not_regular
from medtrain.io.yaml_file import MOST_REPEATED, read_yaml

TRIPLES = "a: &a [1,1,1]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a}]\n" for a, b in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRIPLES, f"its aliases stand for more than {MOST_REPEATED:,} values"),
        ("a: &a {" + ",".join(f"k{n}: 1" for n in range(200)) + "}\nb: [" + ",".join(["*a"] * 60) + "]", "aliases"),
        ("a: &a [*a]", "*a stands in itself"),
        ("a: &a {b: {c: *a}}", "*a stands in itself"),
        ("[" * 500_000, "nested more than"),
        ("{a: " * 500_000, "nested more than"),
        ("- " * 500_000, "nested more than"),
        ("a: *nothing", "undefined alias"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !mine 1", "could not determine a constructor"),
        ("? [1]\n: 2", "unhashable"),
        ("a: 2020-99-99", "month"),
        ("a: b: c", "are not allowed"),
        ("\x07", "control characters"),
    ],
)
def test_yaml(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(Unreadable) as error:
        read_yaml(tmp_path / "a.yaml")
    assert told in str(error.value) and "a.yaml is no YAML" in str(error.value) and "\n" not in str(error.value)


def test_honest_yaml(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("base: &base {a: 1, b: [1, 2]}\nother: {<<: *base, a: 2}\n")
    assert read_yaml(file) == {"base": {"a": 1, "b": [1, 2]}, "other": {"a": 2, "b": [1, 2]}}
    names = [f"n{n}" for n in range(30_000)]  # many, but all of them are there
    file.write_text("names:\n" + "".join(f"- {name}\n" for name in names))
    assert read_yaml(file) == {"names": names}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 1_000_000, "nested too deeply"),
        ('{"a":' * 1_000_000, "nested too deeply"),
        ('{"a": ' + "1" * 10_000 + "}", "is no JSON"),
        ('{"a": }', "line 1, column 7"),
        ("", "line 1, column 1"),
        ("\x00", "is no JSON"),
    ],
)
def test_json(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(MedtrainError) as error:
        read_json(tmp_path / "a.json")
    assert told in str(error.value) and "a.json" in str(error.value) and "\n" not in str(error.value)


def test_json_that_is_no_map(tmp_path: Path) -> None:
    for text in ("[1]", "3", "null", '"a"'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(Unreadable, match="where a map is wanted"):
            read_json_map(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_what_is_no_text(tmp_path: Path, read: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("zero").symlink_to("/dev/zero")
    Path("folder").mkdir()
    Path("latin").write_bytes(b'"\xe9"')
    with open("large", "wb") as file:
        file.truncate(3 << 30)  # takes no place on the disk
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name in ("pipe", "zero", "folder", "socket", "latin", "large"):
            with pytest.raises(Unreadable, match=name):
                read(Path(name))
    assert why_not_regular("latin") == ""
    Path("bom").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read(Path("bom")) == {"a": 1}
