"""Tables as people spoil them: what is told names the file and the row, all of it at once, and nothing hangs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import MedtrainError
from medtrain.data.batches.images import ImageData
from tests.data.tables import config, write_images

LINES = ["path,label,patient", *(f"{n}.png,{n // 2 % 2},p{n // 2}" for n in range(20))]
Change = Callable[[list[str]], list[str]]


def added(*lines: str) -> Change:
    return lambda table: [*table, *lines]


def split(last: str) -> Change:
    return lambda t: [f"{t[0]},split", *(f"{row},{last if n > 14 else 'train'}" for n, row in enumerate(t[1:]))]


# name, what is done to the lines, keys of the data node, exit code, texts of the message
FAULTS: list[tuple[str, Change, dict[str, Any], int, list[str]]] = [
    ("header only", lambda t: t[:1], {}, 1, ["table.csv", "no rows"]),
    ("too many cells", added("3.png,1,p9,x,y"), {}, 1, ["table.csv", "line 22"]),
    ("open quote", added('"3.png,1,p2'), {}, 1, ["table.csv is not a regular CSV"]),
    ("zero byte", added("3\0.png,1,p2"), {}, 1, ["table.csv", "line 22", "zero byte"]),
    ("wrong columns", lambda t: t, {"columns": {"label": "lebel", "path": "pfad"}}, 2,
     ["no column 'lebel'; did you mean 'label'", "no column 'pfad'"]),
    ("labels outside", added("a.png,7,p8", "b.png,8,p9"), {"classes": ["0", "1"]}, 1,
     ["row 22: label '7' is none of", "row 23: label '8' is none of"]),
    ("one class", lambda t: [line.replace(",1,", ",0,") for line in t], {}, 1, ["only one class (0)"]),
    ("blank labels", added("a.png,,p8", "b.png, ,p9"), {}, 1, ["row 22: the label is blank", "row 23: the label"]),
    ("blank patients", added("a.png,1,", "b.png,1, "), {}, 1, ["row 22: the cell of 'patient'", "row 23: the cell"]),
    ("rows twice", added("0.png,0,p0", "1.png,0,p0"), {}, 1, ["row 22: the same file '0.png' as table.csv row 2",
     "row 23: the same file"]),
    ("rows twice, other labels", added("0.png,1,p0"), {}, 1, ["row 2: another label than table.csv row 22", "row 22:"]),
    ("twice, written otherwise", added("./0.png,1,p0"), {}, 1, ["row 2: another label", "row 22: another label"]),
    ("no files", added("x.png,1,p8", "../y.png,0,p9", "/nowhere/z.png,0,p9"), {}, 1, ["row 22", "row 23", "row 24"]),
    ("blank path", added(",1,p3"), {}, 1, ["row 22: the path is blank"]),
    ("a folder", added("sub,1,p3"), {}, 1, ["row 22: no such file", "sub"]),
    ("a link to itself", added("loop.png,1,p3"), {}, 1, ["row 22: no such file", "loop.png"]),
    ("a pipe", added("pipe.png,1,p3"), {}, 1, ["row 22: no such file", "pipe.png"]),
    ("a text as a picture", added("text.png,1,p3"), {}, 1, ["row 22 (text.png): not a picture"]),
    ("an empty picture", added("empty.png,1,p3"), {}, 1, ["row 22 (empty.png): empty file (0 bytes)"]),
    ("nothing matches", lambda t: t, {"filter": "label == 5"}, 1, ["data.filter='label == 5' matches none of the 20"]),
    ("splits misspelt", split("tset"), {}, 1, ["row 17: split 'tset'", "row 21: split 'tset'"]),
    ("no test cases", split("val"), {}, 1, ["no cases for test"]),
    ("no patient matched", lambda t: t, {"patient_pattern": "(abc)"}, 1, ["row 2: data.patient_pattern", "row 21"]),
    ("no such root", lambda t: t, {"root": "nowhere"}, 1, ["row 2: no such file", "20 missing"]),
    ("no such positive", lambda t: t, {"positive": "5"}, 2, ["data.positive='5'"]),
    ("one class named", lambda t: t, {"classes": ["0"]}, 2, ["data.classes"]),
    ("window of words", lambda t: t, {"window": "lung"}, 2, ["data.window=lung: give two numbers"]),
    ("window of three", lambda t: t, {"window": [1, 2, 3]}, 2, ["data.window=[1, 2, 3]: give two numbers"]),
    ("window of nothing", lambda t: t, {"window": [float("nan"), 1]}, 2, ["window"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "keys", "code", "texts"), FAULTS, ids=[f[0] for f in FAULTS])
def test_faults(name: str, change: Change, keys: dict[str, Any], code: int, texts: list[str], tmp_path: Path) -> None:
    write_images(tmp_path, 20)
    (tmp_path / "sub").mkdir()
    (tmp_path / "text.png").write_text("a text, renamed")
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(change(LINES)) + "\n")
    node = config(table=str(table), image_size=8, cache_dir=str(tmp_path / "cache"), **keys)
    with pytest.raises(MedtrainError) as caught:
        ImageData(node, report=lambda text: None).prepare()
    assert caught.value.exit_code == code
    for text in texts:
        assert text in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_other_encodings(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("path,label\na.png,gutärtig\n", encoding=encoding)
    with pytest.raises(MedtrainError, match=r"table\.csv is (not UTF-8|damaged, or no text)"):
        ImageData(config(table=str(tmp_path / "table.csv"))).prepare()
