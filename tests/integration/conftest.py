"""The real command, in this process or installed, in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import preloaded

# a training of a second: 60 small films, one epoch, at a sixteenth of the cells
TINY = (
    "data.patients=24 data.image_size=32 data.batch_size=16 model=resnet18 model.stem=standard trainer=cpu "
    "trainer.max_epochs=1 eval.bootstrap=50"
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
TINY_MASKS = (
    "task=volume_seg data.patients=12 data.spacing=6 data.patch_size=16 model.width=4 trainer=cpu trainer.max_epochs=1 "
    "task.mirror=false eval.bootstrap=20"
).split()
TINIES = {
    "boxes": TINY_BOXES,
    "bag": BAGS,
    "image": TINY,
    "volume": TINY_VOLUMES,
    "mask": TINY_MASKS,
}  # for the options of each kind


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def server() -> Iterator[None]:
    """The server of commands, if one was started, ends with the session."""
    yield
    preloaded.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the plots of reports are drawn in this test: where they are judged, by the mark of this name."""
    if request.node.get_closest_marker("drawn") is not None:
        return True
    for name in preloaded.DRAWS:
        monkeypatch.setattr(name, preloaded.undrawn)
    return False


@pytest.fixture
def medtrain(folder: Path, drawn: bool) -> Callable[..., Ran]:
    """The command in this process."""
    from medtrain.cli import main

    def run(*argv: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(argv))
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def installed(folder: Path, drawn: bool) -> Callable[..., Ran]:
    """The command in a process of its own, which has its imports already."""

    def run(*argv: str, **environment: str) -> Ran:
        return ended(preloaded.start(*argv, draw=drawn, **environment))

    return run


@pytest.fixture
def real(folder: Path) -> Callable[..., Ran]:
    """The command as a person starts it; one test a verb."""

    def run(*argv: str, **environment: str) -> Ran:
        env = os.environ | {"COLUMNS": "200"} | environment
        done = subprocess.run(
            [sys.executable, "-m", "medtrain", *argv], capture_output=True, text=True, env=env, timeout=300
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def ended(process: preloaded.Started) -> Ran:
    """Wait for a process that `preloaded.start` has started."""
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return Ran(process.returncode, out, err)


def run_of(words: list[str], factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a finished run for several tests, with its plots; it goes when they have ended."""
    place = factory.mktemp("run")
    ran = ended(preloaded.start(*words, f"hydra.run.dir={place / 'run'}", draw=True, cwd=place))
    assert ran.code == 0, ran.err
    yield place / "run"
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    """A finished tiny run; tests that change it copy it first."""
    yield from run_of(TINY, tmp_path_factory)
