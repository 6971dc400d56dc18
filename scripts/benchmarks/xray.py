"""What medtrain costs on top of PyTorch: its loader against torchvision's ImageFolder, its step against a bare loop.

    python scripts/benchmarks/xray.py [--images 600] [--workers 2] [--pairs 20] [--model resnet18] [--size 224]

Loader: images a second of epochs 1 and 2 over 1,024 px PNGs in two folders, at 224 px, with equally many workers.
Epoch 1 of medtrain holds the decoding into its cache, from an empty one.
Step: the same network, batches and optimizer, in Lightning with medtrain's callbacks and loggers, and in a plain loop.
Both take turns within one run, a few steps each, so that what else the machine does hits them alike; the ratio is the
median over the pairs, with a 95 % interval by bootstrap.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from medtrain.command import build
from medtrain.config.compose import compose, resolved
from medtrain.loss.cross_entropy import cross_entropy
from medtrain.model import build_model

BURST = 4  # steps of one loop before the other has its turn


def films(root: Path, count: int, side: int = 1024) -> Path:
    """Smooth noise with a grain, about as hard to decompress as a film; a quarter of them for validation and test."""
    draw = np.random.default_rng(0)
    for n in range(count):
        split = ("train", "train", "val", "test")[n // 2 % 4]
        coarse = Image.fromarray(draw.normal(128, 40, (16, 16)).clip(0, 255).astype(np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        place = root / split / str(n % 2)
        place.mkdir(parents=True, exist_ok=True)
        grain = draw.normal(0, 3, (side, side))
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(place / f"{n}.png")
    return root


def drain(loader: Iterable[Any], size: Callable[[Any], int]) -> tuple[int, float]:
    """Images and seconds of one epoch."""
    start = time.perf_counter()
    return sum(size(batch) for batch in loader), time.perf_counter() - start


def loaders(root: Path, cache: Path, workers: int, side: int, batch: int) -> dict[str, list[float]]:
    """Images a second of epochs 1 and 2."""
    steps = [transforms.Grayscale(), transforms.Resize((side, side)), transforms.ToTensor()]
    folder = ImageFolder(str(root / "train"), transforms.Compose(steps))
    plain = DataLoader(folder, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    rates: dict[str, list[float]] = {"torchvision ImageFolder": [], "medtrain": []}
    for _ in range(2):
        images, seconds = drain(plain, lambda b: len(b[0]))
        rates["torchvision ImageFolder"].append(images / seconds)
    cfg = configuration(root, cache, side, batch, workers, "resnet18")
    start = time.perf_counter()
    data = build.data(cfg)
    data.prepare()
    ours = data.train_dataloader()
    prepared = time.perf_counter() - start
    _, seconds = drain(ours, lambda b: len(b["x"]))
    rates["medtrain"].append(len(data.cases) / (prepared + seconds))  # validation and test images were decoded too
    images, seconds = drain(ours, lambda b: len(b["x"]))
    rates["medtrain"].append(images / seconds)
    return rates


def configuration(root: Path, cache: Path, side: int, batch: int, workers: int, model: str) -> Any:
    words = [
        "data=image_folder", f"data.root={root}", f"data.cache_dir={cache}", f"data.image_size={side}",
        f"data.batch_size={batch}", f"data.num_workers={workers}", f"model={model}", "augment=none",
        "trainer.max_epochs=1000", "callbacks.early_stopping=null",
    ]  # fmt: skip
    return resolved(compose(words).cfg)


class Turns(pl.Callback):
    """Between bursts of Lightning's steps, the plain loop's; the seconds a step of each."""

    def __init__(self, plain: Callable[[], None], pairs: int) -> None:
        self.plain, self.pairs = plain, pairs
        self.seconds: list[tuple[float, float]] = []
        self._steps, self._mark = 0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._steps += 1
        if self._steps % BURST:
            return
        now = time.perf_counter()
        for _ in range(BURST):
            self.plain()
        after = time.perf_counter()
        if self._steps > 2 * BURST:  # the first two bursts warm up
            self.seconds.append(((now - self._mark) / BURST, (after - now) / BURST))
        trainer.should_stop = len(self.seconds) >= self.pairs
        self._mark = time.perf_counter()


def steps(root: Path, cache: Path, side: int, batch: int, model: str, pairs: int) -> list[tuple[float, float]]:
    """Seconds a step of Lightning and of the plain loop, pair by pair, within one long epoch."""
    cfg = configuration(root, cache, side, batch, 0, model)
    data = build.data(cfg)
    data.prepare()
    rows = data.rows("train")
    repeated = np.tile(rows, -(-(pairs + 3) * BURST * batch // len(rows)))
    data.rows = lambda split: repeated if split == "train" else rows  # type: ignore[method-assign]
    task = build.task(cfg, data.spec, training=True)
    turns = Turns(bare(cfg, data), pairs)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build.trainer(cfg, Path(folder), training=True, report=lambda **facts: None)
        trainer.callbacks.append(turns)  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0
        trainer.fit(task, train_dataloaders=data.train_dataloader())
    return turns.seconds


def bare(cfg: Any, data: Any) -> Callable[[], None]:
    """One step of what a person would write by hand."""
    from medtrain.config import allowed

    spec = data.spec
    network = build_model(*allowed.builder("model", build.plain(cfg.model)), spec).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    loss = cross_entropy(spec)
    mean, std = torch.tensor(spec.mean).view(1, -1, 1, 1), torch.tensor(spec.std).view(1, -1, 1, 1)

    def endless() -> Iterator[Any]:
        while True:
            yield from data.train_dataloader()

    batches = endless()
    network.train()

    def step() -> None:
        batch = next(batches)
        x = (batch["x"].float() / 255 - mean) / std
        optimizer.zero_grad()
        loss(network(x), batch["y"]).backward()
        optimizer.step()

    return step


def interval(values: list[float]) -> tuple[float, float]:
    """95 % of the median, by bootstrap."""
    draw = np.random.default_rng(0)
    medians = np.median(draw.choice(values, (5000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, usual in (
        ("images", int, 600), ("workers", int, 2), ("pairs", int, 20), ("size", int, 224), ("batch", int, 16),
        ("model", str, "resnet18"),
    ):  # fmt: skip
        asked.add_argument(f"--{name}", type=kind, default=usual)
    args = asked.parse_args()
    console = Console()
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as place:
        root, cache = films(Path(place) / "films", args.images), Path(place) / "cache"
        table = Table("loader", "epoch 1, images/s", "epoch 2, images/s", title=f"1,024 px PNG, {args.workers} workers")
        rates = loaders(root, cache, args.workers, args.size, args.batch)
        for name, (first, second) in rates.items():
            table.add_row(name, f"{first:,.0f}", f"{second:,.0f}")
        theirs, ours = rates.values()
        table.add_row("ratio", f"{ours[0] / theirs[0]:.2f}", f"{ours[1] / theirs[1]:.1f}")
        console.print(table)
        seconds = steps(root, cache, args.size, args.batch, args.model, args.pairs)
    ratios = [ours / theirs for ours, theirs in seconds]
    low, high = interval(ratios)
    console.print(
        f"step of {args.model}, {args.size} px, batch {args.batch}: medtrain "
        f"{1000 * statistics.median(o for o, _ in seconds):.1f} ms, bare loop "
        f"{1000 * statistics.median(t for _, t in seconds):.1f} ms; ratio {statistics.median(ratios):.3f} "
        f"({low:.3f} to {high:.3f}, {len(ratios)} pairs of {BURST} steps)"
    )


if __name__ == "__main__":
    main()
