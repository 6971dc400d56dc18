"""The scripts that a person runs by hand: all say how they are used, the cheap ones do a little of what they are for.

A script may rot for months before someone needs it. All of them are typed and linted, too, with the rest of the house.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

SCRIPTS = {
    str(path.relative_to(ROOT / "scripts")): path
    for path in sorted((ROOT / "scripts").rglob("*.py"))
    if "\nif __name__ ==" in path.read_text(encoding="utf-8")
}
LITTLE = {  # words by which a script is done in a second or two
    "augment_picture.py": "{folder}/augment.png",
    "benchmarks/bags.py": "--folder {folder} --bags 3 --smallest 20 --largest 40 --instances 64 --workers 0 --rounds 1",
    "benchmarks/bootstrap.py": "--cases 120 --replicates 10 --classes 3",
    "benchmarks/evidence.py": "--epochs 1 --seeds 1 --models mean_mil",
    "benchmarks/masks.py": "{folder} --volumes 2 --size 24 40 40 --patch 16 --seconds 0.1",
    "benchmarks/segmentation_memory.py": "{folder} --size 20 24 24 --patch 16 --spacing 1.5 --alone",
    "benchmarks/tile_merging.py": "--images 2",
    "benchmarks/two_parts.py": "{folder} --cases 2",
}


def run(name: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a script as its command line would; returns the exit code."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "argv", [str(SCRIPTS[name]), *words])
    monkeypatch.setattr(sys, "path", [str(SCRIPTS[name].parent), *sys.path])  # as Python does with a script's folder
    try:
        runpy.run_path(str(SCRIPTS[name]), run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        beside = {path.stem for path in SCRIPTS[name].parent.glob("*.py")}
        for module in (set(sys.modules) - before) & beside:  # `coverage` is a package's name, too
            del sys.modules[module]
    return 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_used(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(name, ["--help"], monkeypatch) == 0
    out = capsys.readouterr().out
    what = SCRIPTS[name].read_text(encoding="utf-8").removeprefix('"""').splitlines()[0]
    assert what in out, "its first words are its help"
    assert f"python scripts/{name}" in out, "with a line that can be pasted"


@pytest.mark.parametrize("name", LITTLE)
def test_a_script_does_a_little(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(folder=tmp_path) for word in LITTLE[name].split()]
    assert run(name, words, monkeypatch) == 0
    assert capsys.readouterr().out.strip() or list(tmp_path.iterdir())
