"""On a real SLURM of one node, which `scripts/slurm/cluster.py` starts for these tests alone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medtrain.io import record
from tests.integration.conftest import TINY, Ran
from tests.repository import ROOT

WORDS = [word for word in TINY if not word.startswith(("trainer", "data.batch_size", "model.stem"))]  # not done at once
WORDS += ["data.batch_size=8", "data.num_workers=0", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The path of slurm.conf."""
    spec = importlib.util.spec_from_file_location("cluster", ROOT / "scripts" / "slurm" / "cluster.py")
    assert spec is not None and spec.loader is not None
    cluster: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cluster)
    if os.geteuid() != 0:
        pytest.skip("a SLURM of one's own needs root")
    if not cluster.installed():
        try:
            cluster.install()
        except (OSError, subprocess.SubprocessError):
            pytest.skip("slurm-wlm and munge are not installed, and can't be")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents):  # munged refuses a socket that others can't reach
        if parent.name.startswith("pytest-"):
            parent.chmod(0o755)
    try:
        yield cluster.up(folder)
    finally:
        cluster.down(folder)


@pytest.fixture
def on_slurm(slurm: Path, monkeypatch: pytest.MonkeyPatch, medtrain: Callable[..., Ran]) -> Callable[..., Ran]:
    """The command in this process, on that SLURM; asking it more often than a big cluster should be."""
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("medtrain.launch.slurm.wait.POLL_S", 0.5)
    return medtrain


def until(what: Callable[[], Any], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def epochs(run: Path) -> int:
    table = run / "metrics.csv"
    return len(table.read_text().splitlines()) - 1 if table.is_file() else 0


def log(sweep: Path) -> str:
    return "".join(file.read_text(errors="replace") for file in sorted(sweep.glob("slurm/*_0_log.out")))


def test_an_array_whose_jobs_fail_alone(on_slurm: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    words = ["data.columns.label=lable,label", "hydra/launcher=slurm", "hydra.sweep.dir=sweep"]
    ran = on_slurm("-m", *WORDS, "trainer.max_epochs=1", *words)
    assert ran.code == 1, ran.out + ran.err
    rows = pd.read_csv("sweep/sweep.csv")
    assert rows["status"].tolist() == ["finished", "failed"] and rows["job"].tolist() == [1, 0]
    assert "did you mean 'label'" in rows["error"][1]
    ids = json.loads(Path("sweep/slurm/jobs.json").read_text())
    assert ids["0"].split("_")[0] == ids["1"].split("_")[0] and ids["1"].endswith("_1")  # one array
    ran = on_slurm("status", "sweep")
    assert ran.code == 1 and "did you mean 'label'" in ran.out and ids["0"] in ran.out and "_0_log.out" in ran.out
    before = record.read("sweep/1")["ended"]
    ran = on_slurm("submit", "hydra.sweep.dir=sweep", "sweep.retry=failed")
    assert ran.code == 0 and "sweep/1 is finished already" in ran.out, ran.err
    again = json.loads(Path("sweep/slurm/jobs.json").read_text())
    assert again["0"] != ids["0"] and again["1"] == ids["1"]
    until(lambda: record.read("sweep/0")["status"] == "failed")
    assert record.read("sweep/1")["ended"] == before


def test_a_job_of_two_processes_is_signalled_then_killed_and_ends_all_the_same(
    on_slurm: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    run, two = Path("sweep/0"), ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    began = time.monotonic()
    ran = on_slurm("submit", *WORDS, *two, "trainer.max_epochs=12", "hydra.sweep.dir=sweep")
    assert ran.code == 0 and "medtrain status sweep" in ran.out, ran.err
    assert not run.joinpath("checkpoints").exists() and time.monotonic() - began < 60  # it didn't wait
    job = json.loads(Path("sweep/slurm/jobs.json").read_text())["0"]
    assert job in ran.out
    until(lambda: epochs(run) >= 1)
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    until(lambda: record.read(run)["status"] == "preempted" or "starts again" in log(Path("sweep")))
    ran = on_slurm("status", "sweep")
    assert ran.code == 0, ran.out
    until(lambda: "going on after" in log(Path("sweep")) and record.read(run)["status"] == "running")
    done = epochs(run)
    until(lambda: epochs(run) > done)
    os.kill(record.read(run)["pid"], signal.SIGKILL)
    until(lambda: on_slurm("status", "sweep").code == 1)
    ran = on_slurm("status", "sweep")
    assert "failed" in ran.out and f"SLURM job {job}" in ran.out and "last line of its log" in ran.out, ran.out
    ran = on_slurm("submit", "hydra.sweep.dir=sweep", "sweep.retry=failed")
    assert ran.code == 0, ran.err
    until(lambda: record.read(run)["status"] in ("finished", "failed"))
    fields = record.read(run)
    assert fields["status"] == "finished" and fields["world_size"] == 2, log(Path("sweep"))
    table = pd.read_csv(run / "metrics.csv")
    assert table["epoch"].tolist() == list(range(len(table)))  # no gap, none doubled
    assert len(re.findall("going on after", log(Path("sweep")))) == 2
    assert on_slurm("status", "sweep").code == 0


def test_a_job_that_slurm_refuses(on_slurm: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    ran = on_slurm("submit", *WORDS, "hydra.launcher.partition=gpu", "hydra.sweep.dir=sweep")
    assert ran.code == 1 and "SLURM refused the jobs" in ran.err and "partition" in ran.err
