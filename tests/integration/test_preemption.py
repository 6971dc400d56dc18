"""A job whose machine is wanted back saves between two batches, and goes on to the same result; without a SLURM."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from medtrain.callbacks import Speed
from medtrain.core.notice import notice
from medtrain.io import record
from medtrain.launch.execute import PREEMPTED
from medtrain.launch.slurm import job as on_slurm
from medtrain.launch.slurm import queue
from tests.integration.conftest import TINY, Ran, run_of

WORDS = [word for word in TINY if "max_epochs" not in word and "batch_size" not in word]
WORDS += "trainer.max_epochs=2 data.batch_size=8 data.num_workers=1 model.dropout=0.2 augment=light".split()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """As in a job on SLURM: this process owns the signals, until the test ends."""
    numbers = (signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    monkeypatch.setattr(notice, "owner", 0)
    yield notice.listen
    notice.given = None
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    """The undisturbed run."""
    yield from run_of(WORDS, tmp_path_factory)


def signal_at(monkeypatch: pytest.MonkeyPatch, hook: str, call: int, number: int) -> None:
    """The signal comes in the given call of a callback's hook."""
    seen: list[int] = []
    before = getattr(Speed, hook, None)

    def hooked(self: Speed, *args: Any, **kwargs: Any) -> None:
        seen.append(1)
        if len(seen) == call:
            os.kill(os.getpid(), number)
        if before is not None:
            before(self, *args, **kwargs)

    monkeypatch.setattr(Speed, hook, hooked, raising=False)


@pytest.mark.parametrize(
    ("hook", "call", "number", "goes_on"),
    [
        ("on_train_batch_start", 2, signal.SIGUSR2, "after epoch 0 and 2 batches"),
        ("on_train_batch_start", 8, signal.SIGTERM, "after epoch 1 and 3 batches"),
        ("on_validation_batch_start", 1, signal.SIGUSR2, "after epoch 1 ("),
    ],
    ids=["in the first epoch", "in the second", "in validation"],
)
def test_it_goes_on_to_the_same_result(
    hook: str,
    call: int,
    number: int,
    goes_on: str,
    medtrain: Callable[..., Ran],
    folder: Path,
    whole: Path,
    listening: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        signal_at(patch, hook, call, number)
        listening(60)
        assert medtrain(*WORDS, "hydra.run.dir=stopped").code == PREEMPTED
    assert record.read("stopped")["status"] == "preempted"
    notice.owner = 0
    ran = medtrain("resume=stopped")
    assert ran.code == 0 and goes_on in ran.out, ran.out + ran.err
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, Path("stopped"))]
    assert all(torch.equal(value, states[1]["state_dict"][key]) for key, value in states[0]["state_dict"].items())
    logs = [
        pd.read_csv(run / "metrics.csv").drop(columns=["images_per_s", "data_wait"]) for run in (whole, Path("stopped"))
    ]
    pd.testing.assert_frame_equal(*logs, check_exact=True)


def test_where_no_batch_ends_it_stops_where_it_is(
    medtrain: Callable[..., Ran], folder: Path, listening: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the training begins there is nothing to save."""
    monkeypatch.setattr("medtrain.command.train.check_validation", lambda *_: os.kill(os.getpid(), signal.SIGUSR2))
    listening(60)
    assert medtrain(*WORDS, "hydra.run.dir=run").code == PREEMPTED
    assert record.read("run")["status"] == "preempted" and not list(Path("run").glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("job", "given", "restarts", "fault", "status", "code"),
    [
        ({"JobState": "RUNNING", "PreemptTime": "None"}, signal.SIGUSR2, 0, "", "preempted", 0),
        ({"JobState": "RUNNING", "PreemptTime": "2026-01-01"}, signal.SIGTERM, 0, "", "preempted", 0),
        ({"JobState": "RUNNING", "PreemptTime": "None"}, signal.SIGTERM, 0, "", "failed", 1),
        ({"JobState": "CANCELLED"}, signal.SIGTERM, 0, "", "interrupted", 143),
        ({"JobState": "PENDING"}, signal.SIGTERM, 0, "", "preempted", 0),
        ({"JobState": "RUNNING"}, signal.SIGUSR2, 3, "", "failed", 1),
        ({"JobState": "RUNNING"}, signal.SIGUSR2, 0, "Requested operation not supported", "failed", 1),
    ],
)
def test_what_follows(
    job: dict[str, str],
    given: signal.Signals,
    restarts: int,
    fault: str,
    status: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record.RunRecord(tmp_path).finish("preempted")
    asked: list[int] = []
    monkeypatch.setattr(queue, "of_this_job", lambda: job)
    monkeypatch.setattr(queue, "requeue", lambda: asked.append(1) or fault)
    monkeypatch.setattr(notice, "given", given)
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    assert on_slurm.preempted(tmp_path, 3) == code
    fields = record.read(tmp_path)
    assert fields["status"] == status and ("error" in fields) == (status != "preempted")
    assert bool(asked) == ((status == "preempted" and job["JobState"] == "RUNNING") or bool(fault))
