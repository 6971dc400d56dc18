"""Jobs of a sweep are processes that share the command's imports: each is what a single run is, and crashes alone."""

from __future__ import annotations

import csv
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests import preloaded
from tests.integration.conftest import Ran, ended

TINY = (
    "task=wsi_mil", "data=feature_bags", "data.table=bags.csv", "trainer=cpu", "trainer.max_epochs=2",
    "eval.bootstrap=20",
)  # fmt: skip
CRASH = """
import os, signal, sys
from medtrain.command import train
fit = train.fit
def crash(trainer, task, *more):
    if task.seed == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if task.seed == 4:
        os._exit(0)
    if task.seed == 5:
        sys.exit(0)
    return fit(trainer, task, *more)
train.fit = crash
"""
WAIT = """
import time
from medtrain.command import train
train.fit = lambda *_: time.sleep(100)
"""


def write_bags(count: int = 24) -> None:
    """Write bags of three instances with two features: label, bag, features."""
    with open("bags.csv", "w", newline="") as file:
        for bag in range(count):
            for i in range(3):
                csv.writer(file).writerow([bag % 2, bag, (bag * 7 + i) % 5 + bag % 2, (bag + i) % 3])


def facts(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def test_a_crash_ends_its_own_job_and_the_others_are_what_single_runs_are(
    installed: Callable[..., Ran], folder: Path
) -> None:
    write_bags()
    ran = ended(preloaded.start("-m", *TINY, "seed=1,2,4,5,3", "hydra.sweep.dir=sweep", code=CRASH))
    assert ran.code == 1 and "ended by SIGSEGV; the other jobs go on" in ran.err
    jobs = [facts(Path("sweep", str(number))) for number in range(5)]
    assert [job["status"] for job in jobs] == ["finished", "failed", "failed", "failed", "finished"]
    assert jobs[1]["error"] == "its process was ended by SIGSEGV"
    assert jobs[2]["error"] == "its process has ended itself (code 0): a library, or code of your own"
    assert jobs[3]["error"] == "sys.exit(0): a library, or code of your own, has ended the process"
    assert len({job["pid"] for job in jobs}) == 5
    assert installed(*TINY, "seed=3", "hydra.run.dir=single").code == 0
    for name in ("test_predictions.csv", "splits.csv"):
        assert Path("sweep", "4", name).read_bytes() == Path("single", name).read_bytes()


def test_an_interrupt_reaches_the_job_and_ends_the_sweep(folder: Path) -> None:
    write_bags()
    process = preloaded.start("-m", *TINY, "seed=1,2", "hydra.sweep.dir=sweep", code=WAIT)
    until = time.monotonic() + 60
    record = Path("sweep", "0", "run.json")
    while not record.is_file() or facts(record.parent)["status"] != "running":
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(1.0)  # it has to come as far as its training
    process.send_signal(signal.SIGINT)
    ran = ended(process)
    assert ran.code == 130 and ran.err.count("interrupted; go on with") == 1
    assert facts(record.parent)["status"] == "interrupted"
    assert not Path("sweep", "1").exists()
    job = facts(record.parent)["pid"]
    assert not Path(f"/proc/{job}").exists()
