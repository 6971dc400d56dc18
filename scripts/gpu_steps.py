"""Training steps of the reference networks on one device: medtrain's against a bare loop of the same settings.

Both loops have the same network, loss, augmentation, optimizer, loader and precision; the bare one is what a person
would write by hand: no Lightning, callbacks, loggers, progress or checks. `scripts/gpu_check.py` runs this.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities import move_data_to_device

from medtrain.command import build
from medtrain.config.compose import compose, resolved
from medtrain.data.base import Data

PLAIN = ("trainer.precision=32-true", "trainer.channels_last=false")
HALF = ("trainer.precision=bf16-mixed", "trainer.channels_last=false")
LAID = ("trainer.precision=bf16-mixed", "trainer.channels_last=true")
SETTINGS = {
    "fp32": PLAIN,
    "bf16-mixed": HALF,
    "bf16-mixed, channels_last": LAID,
    "bf16-mixed, channels_last, compile": (*LAID, "trainer.compile=true"),
}


@dataclass(frozen=True)
class Job:
    """One reference network: what it trains on, at full size and in a dry run."""

    name: str
    words: tuple[str, ...]
    full: tuple[str, ...]
    tiny: tuple[str, ...]

    def overrides(self, setting: str, dry: bool, place: Path) -> list[str]:
        """Give the command line's words of this job under a setting of `SETTINGS`."""
        sizes = self.tiny if dry else self.full
        rest = [f"data.cache_dir={place / 'cache'}", "callbacks.early_stopping=null", "trainer.max_epochs=1000"]
        fitting = [f"data.table={bags(place, dry)}"] if "data=feature_bags" in self.words else []
        return [*self.words, *sizes, *SETTINGS[setting], *rest, *fitting]


FILMS = ("data.image_size=224", "data.patients=96", "data.batch_size=64", "data.num_workers=4")
FEW = ("data.image_size=32", "data.patients=12", "data.batch_size=4", "data.num_workers=0")
JOBS = (
    Job("DenseNet-121, 224 px", ("model=densenet121",), FILMS, FEW),
    Job("ResNet-50, 224 px", ("model=resnet50",), FILMS, FEW),
    Job(
        "3D ResNet-18, 64 x 64 x 64",
        ("task=volume_cls", "data.spacing=1.0"),
        ("data.patch_size=64", "data.patients=32", "data.batch_size=16", "data.num_workers=4"),
        ("data.patch_size=16", "data.patients=10", "data.batch_size=2", "data.num_workers=0"),
    ),
    Job(
        "3D U-Net, 64 x 64 x 64",
        ("task=volume_seg", "data.spacing=2.0"),
        ("data.patch_size=64", "data.patients=32", "data.batch_size=8", "data.num_workers=4"),
        ("data.patch_size=16", "data.patients=10", "data.batch_size=2", "data.num_workers=0", "model.width=4"),
    ),
    Job(
        "attention MIL, bags of 200 to 4,000 x 1,024",
        ("task=wsi_mil", "data=feature_bags", "data.classes=[no,yes]", "model=attention_mil"),
        ("data.batch_size=8", "data.num_workers=4"),
        ("data.batch_size=4", "data.num_workers=0"),
    ),
    Job(
        "YOLO-n, 512 px",
        ("task=lesion_det", "model=yolo"),
        ("data.image_size=512", "data.patients=48", "data.batch_size=32", "data.num_workers=4"),
        ("data.image_size=64", "data.patients=12", "data.batch_size=4", "data.num_workers=0"),
    ),
)


def bags(place: Path, dry: bool) -> Path:
    """Make bags of random features, once, half of them positive; gives their table."""
    table = place / "bags" / "labels.csv"
    if table.is_file():
        return table
    table.parent.mkdir(parents=True)
    draw, (least, most, width) = np.random.default_rng(0), (4, 9, 8) if dry else (200, 4000, 1024)
    rows = []
    for number in range(24 if dry else 96):
        features = draw.normal(size=(int(draw.integers(least, most)), width)).astype(np.float32)
        name = f"bag{number:03d}.pt"
        torch.save(torch.from_numpy(features), table.parent / name)
        rows.append((name, ("no", "yes")[number % 2], f"P{number}"))
    pd.DataFrame(rows, columns=["path", "label", "patient"]).to_csv(table, index=False)
    return table


@dataclass
class Measured:
    """What one loop did: seconds a step, cases a second, share of the time spent waiting for data, peak memory."""

    step_s: float
    cases_per_s: float
    data_wait: float
    memory_mb: float | None


class Timed(pl.Callback):
    """Times Lightning's steps after a warm-up, and ends the training when enough were timed."""

    def __init__(self, warm: int, steps: int) -> None:
        self.clock = Clock(warm, steps)

    def on_train_batch_start(self, trainer: pl.Trainer, task: Any, batch: Any, batch_idx: int) -> None:
        self.clock.batch_arrives(task.batch_size(batch))

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        trainer.should_stop = self.clock.step_ends()


class Clock:
    """Counts steps; the device is waited for where the warm-up ends and where the last step does."""

    def __init__(self, warm: int, steps: int) -> None:
        self.warm, self.last = warm, warm + steps
        self.done, self.cases, self.waited = 0, 0, 0.0
        self.start = self.end = self._mark = time.perf_counter()

    def batch_arrives(self, cases: int) -> None:
        if self.done >= self.warm:
            self.cases += cases
            self.waited += time.perf_counter() - self._mark

    def step_ends(self) -> bool:
        """Note the end of a step; tells whether it was the last."""
        self.done += 1
        if self.done in (self.warm, self.last):
            wait_for_device()
        self._mark = time.perf_counter()
        if self.done == self.warm:
            self.start = self._mark
        self.end = self._mark
        return self.done >= self.last

    def measured(self) -> Measured:
        whole = self.end - self.start
        peak = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None
        return Measured(whole / (self.last - self.warm), self.cases / whole, self.waited / whole, peak)


def wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fresh() -> None:
    """Give back what the loop before this one held, so that peaks are its own."""
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def prepared(words: list[str], steps: int) -> tuple[Any, Data]:
    """Read a job's data, its training rows repeated so that one epoch holds all steps."""
    cfg = resolved(compose(words).cfg)
    data = build.data(cfg)
    data.prepare()
    rows, enough = data.rows("train"), (steps + 2) * int(cfg.data.batch_size)
    many = np.tile(rows, -(-enough // len(rows)))
    data.rows = lambda split: many if split == "train" else rows  # type: ignore[method-assign]
    return cfg, data


def ours(cfg: Any, data: Data, warm: int, steps: int) -> Measured:
    """Time medtrain's own training: its trainer, callbacks and loggers."""
    fresh()
    task, timed = build.task(cfg, data.spec, training=True), Timed(warm, steps)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build.trainer(cfg, Path(folder), training=True, report=lambda **facts: None)
        trainer.callbacks.append(timed)  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0
        trainer.fit(task, train_dataloaders=data.train_dataloader())
    return timed.clock.measured()


def bare(cfg: Any, data: Data, warm: int, steps: int) -> Measured:
    """Time a plain loop of the same network, loss, batches and precision."""
    fresh()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = build.task(cfg, data.spec, training=True).to(device).train()
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-3)
    clock = Clock(warm, steps)
    for batch in forever(data.train_dataloader()):
        on_device = move_data_to_device(batch, device)
        clock.batch_arrives(task.batch_size(batch))
        with precision(cfg, device):
            loss = torch.stack(list(task.losses(on_device).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clock.step_ends():
            break
    return clock.measured()


def forever(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def precision(cfg: Any, device: torch.device) -> AbstractContextManager[Any]:
    half = str(cfg.trainer.precision) == "bf16-mixed"
    return torch.autocast(device.type, torch.bfloat16) if half else nullcontext()


def loading(data: Data, batches: int) -> float:
    """Measure the cases a second that the loader gives where nobody computes."""
    loader = iter(data.train_dataloader())
    next(loader)
    start, cases = time.perf_counter(), 0
    for batch in islice(loader, batches):
        cases += len(batch["offsets"]) - 1 if "offsets" in batch else len(batch["case"])
    return cases / (time.perf_counter() - start)
