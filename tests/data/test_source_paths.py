"""Each source declares its path keys once; what is quoted, resolved and compared follows from that."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config import search
from medtrain.core.errors import UsageError
from medtrain.data.source import files_of, moved, path_keys, path_names, sources
from tests import options


def test_every_source_declares_its_keys() -> None:
    assert sources().keys() == search.option_files()["data"].keys()
    for name, declared in sources().items():
        needed = {key for key, value in options.read("data", name).items() if value == "???"}  # a file or a folder
        assert needed <= {key.name for key in declared.paths}, name
    assert {
        "table", "root", "file", "bags", "annotations", "images", "cache_dir", "slides", "slide_table", "tissue",
    } == path_names()  # fmt: skip
    with pytest.raises(UsageError, match="none of box_table"):
        path_keys("imagetable")


def test_annotations_are_found_from_here_or_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d" / "pictures").mkdir(parents=True)
    for name in ("here.json", "d/there.json"):
        (tmp_path / name).write_text("{}")
    node = {"name": "coco", "root": "d", "annotations": ["here.json", "there.json"], "images": "pictures"}
    resolved = {key.name: key.absolute(node) for key in path_keys("coco")}
    assert resolved == {
        "root": str(tmp_path / "d"),
        "annotations": [str(tmp_path / "here.json"), str(tmp_path / "d" / "there.json")],
        "images": str(tmp_path / "d" / "pictures"),
    }
    assert files_of(resolved) == {"annotations": [tmp_path / "here.json", tmp_path / "d" / "there.json"]}
    assert [key.absolute({"root": None, "table": "???"}) for key in path_keys("image_table")] == ["???", None]


def test_what_lay_below_a_root_moves_with_it(tmp_path: Path) -> None:
    before = {"name": "coco", "root": "/a", "annotations": "/a/x.json", "images": "/elsewhere"}
    node = before | {"root": str(tmp_path)}
    assert moved(node, before, {"data.root": "b"}) == {"annotations": str(tmp_path / "x.json"), "images": "/elsewhere"}
    assert "annotations" not in moved(node, before, {"data.annotations": "c.json"})
    assert moved(before, before, {}) == {}
