"""What machines do to a run: a terminal that hangs up, a disk that is full."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import preloaded
from tests.integration.conftest import TINY, Ran, ended


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_terminal_that_hangs_up_interrupts(folder: Path, ranks: int) -> None:
    words = [*TINY, "trainer.max_epochs=200", f"trainer.devices={ranks}", "hydra.run.dir=run"]
    process = preloaded.start(*words)
    while not (folder / "run" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    ran = ended(process)
    assert ran.code == 129, ran.err
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["status"] == "interrupted" and "error" not in run
    assert not list((folder / "run" / "checkpoints").glob(".*"))


def test_a_full_disk_is_told_and_kept(small_disk: Path, installed: Callable[..., Ran], folder: Path) -> None:
    ran = installed(*TINY, f"hydra.run.dir={small_disk / 'run'}", f"data.cache_dir={folder / 'cache'}")
    wanted = f"cannot write the checkpoint {small_disk}/run/checkpoints/best.ckpt: No space left on device; free some"
    assert ran.code == 1 and wanted in ran.err and "Logging error" not in ran.err, ran.err
    run = json.loads((small_disk / "run" / "run.json").read_text())
    assert run["status"] == "failed" and wanted in run["error"]
    assert sum(f.stat().st_size for f in small_disk.rglob("*") if f.is_file()) < 1e6  # no half checkpoint, no reserve
