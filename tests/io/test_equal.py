from __future__ import annotations

from pathlib import Path

from medtrain.io import equal
from medtrain.io.equal import HEAD, content_labels


def test_equal_files(tmp_path: Path) -> None:
    long = b"x" * (HEAD + 10)
    contents = [b"ab", b"cd", b"ab", long + b"1", long + b"2", long + b"1", b"", b""]
    paths = []
    for n, content in enumerate(contents):
        paths.append(tmp_path / str(n))
        paths[-1].write_bytes(content)
    labels = content_labels([*paths, tmp_path / "missing", tmp_path / "gone"])
    assert labels.tolist() == [0, 1, 0, 3, 4, 3, 6, 7, 8, 9]


def test_only_ties_are_read(tmp_path: Path, monkeypatch) -> None:
    read = []
    head = equal._head
    monkeypatch.setattr(equal, "_head", lambda path: read.append(path.name) or head(path))
    monkeypatch.setattr(equal, "sha256", lambda path: read.append("all of " + path.name))
    for name, content in {"a": b"1", "b": b"2", "c": b"345"}.items():
        (tmp_path / name).write_bytes(content)
    content_labels([tmp_path / name for name in "abc"])
    assert sorted(read) == ["a", "b"]
