"""What people install: the wheel and the source archive are whole, and the wheel works from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.options import all_options, words
from tests.repository import ROOT, files

COMPOSE_ALL = """
import contextlib, io, json, sys
import medtrain, medtrain.configs
from medtrain.cli import main
from medtrain.config import search

def run(*argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*argv, "--cfg", "job"])
    return [code, err.getvalue(), len(out.getvalue())]

lines = json.loads(sys.argv[1])
missing = {f"{group}={option}" for group, options in search.option_files().items() for option in options} ^ set(lines)
outcomes = {name: run(*words) for name, words in lines.items()}
places = [medtrain.__file__, medtrain.configs.__file__]
print(json.dumps({"places": places, "torch": "torch" in sys.modules, "missing": list(missing), "outcomes": outcomes}))
"""


def run(command: Sequence[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files, so that building leaves nothing in it."""
    place = tmp_path_factory.mktemp("tree")
    for path in files():
        copy = place / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    return place


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    place = tree.parent / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel"]
    run([*pip, "--no-deps", "--no-index", "--no-build-isolation", "-w", str(place), "."], tree)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a fresh install of the wheel."""
    place = tmp_path_factory.mktemp("fresh") / "site"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    run([*pip, "--no-deps", "--no-index", "--target", str(place), str(wheel)], wheel.parent)
    return {"PYTHONPATH": str(place)}


def shipped() -> set[str]:
    """All YAML files and the package's code (the report's templates, style and script too), as an install has them."""
    names = [p.relative_to(ROOT).as_posix() for p in files()]
    code = {n for n in names if n.startswith("medtrain/") and n.endswith((".py", ".css", ".js", ".j2"))}
    return code | {f"medtrain/{n}" for n in names if n.startswith("configs/") and n.endswith((".yaml", ".py"))}


def test_wheel_is_whole(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert shipped() <= names
    assert any(name.endswith("LICENSE") for name in names)
    packages = {name.split("/")[0] for name in names}
    assert {p for p in packages if not p.endswith(".dist-info")} == {"medtrain"}


def test_source_archive_is_whole(tree: Path) -> None:
    place = tree.parent / "sdist"
    run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "-o", str(place), "."], tree)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    sources = {n.relative_to(ROOT).as_posix() for n in files() if n.parts[len(ROOT.parts)] in ("medtrain", "configs")}
    wanted = {n for n in sources if n.endswith((".py", ".yaml", ".css", ".js"))} | {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "setup.py",
    }
    assert wanted <= names


def test_the_installed_command_answers_from_an_empty_folder(fresh: dict[str, str], tmp_path: Path) -> None:
    python = [sys.executable, "-m", "medtrain"]
    assert "usage: medtrain" in run([*python, "--help"], tmp_path, **fresh)
    assert "densenet121" in run([*python, "list"], tmp_path, **fresh)
    assert "name: phantom_xray" in run([*python, "--cfg", "job"], tmp_path, **fresh)
    assert not list(tmp_path.iterdir())


def test_every_option_composes_from_an_empty_folder(fresh: dict[str, str], tmp_path: Path) -> None:
    lines = {f"{group}={option}": words(group, option) for group, option in all_options()}
    told = json.loads(run([sys.executable, "-c", COMPOSE_ALL, json.dumps(lines)], tmp_path, **fresh))
    for place in told["places"]:
        assert place.startswith(fresh["PYTHONPATH"]), "the editable install answered, not the wheel"
    outcomes = told["outcomes"]
    assert {"task=xray_cls", "model=densenet121", "trainer=ddp"} <= set(outcomes) and not told["missing"]
    of_a_sweep = outcomes.pop("hydra/sweeper=optuna")
    assert of_a_sweep[0] == 2 and "add -m" in of_a_sweep[1]
    assert not {name: outcome for name, outcome in outcomes.items() if outcome[0] != 0 or outcome[2] < 500}
    assert not told["torch"], "composing a configuration imported torch"
    assert not list(tmp_path.iterdir())
