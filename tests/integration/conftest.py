"""The real command, in this process or installed, in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# a training of a few seconds: 60 small films, one epoch
TINY = (
    "data.patients=24 data.image_size=32 data.batch_size=16 model=resnet18 trainer=cpu trainer.max_epochs=1 "
    "eval.bootstrap=50"
).split()
# the same of bags, from 21 small slides
BAGS = (
    "task=wsi_mil data.patients=16 data.slide_px=512 data.tile_px=64 data.num_workers=0 trainer=cpu "
    "trainer.max_epochs=1 eval.bootstrap=50"
).split()

TINY_VOLUMES = (
    "task=volume_cls data.patients=24 data.spacing=4 data.patch_size=17 model=resnet10_3d model.width=8 trainer=cpu "
    "trainer.max_epochs=1 eval.bootstrap=50"
).split()
TINY_BOXES = (
    "task=lesion_det model=yolo data.patients=24 data.image_size=64 data.batch_size=8 trainer=cpu trainer.max_epochs=1 "
    "eval.bootstrap=20"
).split()
TINIES = {"boxes": TINY_BOXES, "bag": BAGS, "image": TINY, "volume": TINY_VOLUMES}  # for the options of each kind


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def medtrain(folder: Path) -> Callable[..., Ran]:
    """The command in this process."""
    from medtrain.cli import main

    def run(*argv: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(argv))
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def installed(folder: Path) -> Callable[..., Ran]:
    """The command as a person starts it: a process of its own."""

    def run(*argv: str, **environment: str) -> Ran:
        env = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"} | environment
        done = subprocess.run(
            [sys.executable, "-m", "medtrain", *argv], capture_output=True, text=True, env=env, timeout=300
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Path:
    """A finished tiny run; tests that change it copy it first."""
    place = tmp_path_factory.mktemp("trained") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "medtrain", *TINY, f"hydra.run.dir={place}"],
        capture_output=True,
        text=True,
        cwd=place.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return place
