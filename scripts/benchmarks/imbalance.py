"""What helps against imbalance? Losses and samplers at 1:10, 1:100 and 1:1000, over seeds, at equal optimizer steps.

    python scripts/benchmarks/imbalance.py             # a quarter of an hour on one core
    python scripts/benchmarks/imbalance.py --quick     # half a minute, to see that it works

Small synthetic chest films, some with an opacity; each seed draws other training and validation films, weights and
batches. The test set is one and the same: its films were drawn for it alone. AUPRC and ECE depend on how common
positives are, so they are those of a test set as unequal as the training set (negatives are given that weight).
Prints a Markdown table: mean over the seeds and half the width of its 95 % interval (Student's t).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import t as student
from torch import Tensor, nn

from medtrain.augment.images import Augment2d
from medtrain.core.streams import stream, torch_seed
from medtrain.data.phantom.anatomy import draw_anatomy
from medtrain.data.phantom.xray import ChestFinding, draw_film
from medtrain.loss.balanced_cross_entropy import balanced_cross_entropy
from medtrain.loss.cross_entropy import cross_entropy
from medtrain.loss.focal import focal
from medtrain.metric import Ranking
from medtrain.metric.calibration import Reliability
from medtrain.sampler.balanced import Balanced
from medtrain.sampler.shuffle import Shuffle
from medtrain.sampler.weighted import Weighted
from medtrain.target import DataSpec
from medtrain.target.classes import ClassTarget

PX = 32
SPEC = DataSpec.of("binary", ("normal", "opacity"), 1, (PX, PX))
METHODS: dict[str, tuple[Callable[..., nn.Module], Callable[..., Any]]] = {
    "none": (lambda counts: cross_entropy(SPEC), Shuffle),
    "`sampler=weighted`": (lambda counts: cross_entropy(SPEC), Weighted),
    "`sampler=balanced`": (lambda counts: cross_entropy(SPEC), Balanced),
    "`loss=balanced_cross_entropy`": (lambda counts: balanced_cross_entropy(SPEC, counts), Shuffle),
    "`loss=focal`": (lambda counts: focal(SPEC), Shuffle),
    "`loss=focal loss.alpha=auto`": (lambda counts: focal(SPEC, counts, alpha="auto"), Shuffle),
}
MEASURES = ("AUROC", "AUPRC", "sensitivity at 0.5", "specificity at 0.5", "sensitivity", "specificity", "ECE")


@dataclass(frozen=True)
class Size:
    """How much is drawn and trained: negatives to train, validate and test on, test positives, steps, seeds."""

    train: int = 10_000
    val: int = 3_000
    test: int = 2_000
    positives: int = 500
    steps: int = 250
    seeds: int = 4
    batch: int = 64
    ratios: tuple[int, ...] = (10, 100, 1000)


@dataclass(frozen=True)
class Films:
    """x (N, 1, PX, PX) float in 0..1, and y (N,), 1 where an opacity is seen."""

    x: Tensor
    y: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64]) -> Films:
        return Films(self.x[torch.from_numpy(rows)], self.y[rows])


def draw_films(negatives: int, positives: int, name: str) -> Films:
    """Films of as many patients, the negatives first."""
    x = torch.empty(negatives + positives, 1, PX, PX)
    for i in range(len(x)):
        draw = stream(0, "benchmark", name, i)
        view = "AP" if draw.random() < 0.3 else "PA"
        finding, anatomy = ChestFinding(opacity=i >= negatives, nodule=False), draw_anatomy(draw)
        film = torch.from_numpy(draw_film(draw, anatomy, finding, view, str(draw.choice(["north", "south"])), PX)[0])
        x[i] = F.interpolate(film[None, None].float(), (PX, PX), mode="area")[0]
    return Films(x, np.repeat([0.0, 1.0], [negatives, positives]))


def network() -> nn.Module:
    """Three strided convolutions: enough for 32 px, quick enough for many runs."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def batches(sampler: Any, size: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(epoch, rows (B, 1) or pairs (B, 2)) without end."""
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        drawn = np.array(list(sampler)).reshape(len(sampler), -1)
        yield from ((epoch, drawn[i : i + size]) for i in range(0, len(drawn) - size + 1, size))
        epoch += 1


def trained(method: str, films: Films, size: Size, seed: int) -> nn.Module:
    make_loss, make_sampler = METHODS[method]
    torch.manual_seed(torch_seed(seed, "weights"))
    model, augment = network(), Augment2d(noise=0.0)
    loss = make_loss(SPEC.target.count(films.y))
    sampler = make_sampler(films.y, None, batch_size=size.batch, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=size.steps)
    y = torch.from_numpy(films.y).float()[:, None]
    for _, (epoch, drawn) in zip(range(size.steps), batches(sampler, size.batch), strict=False):
        rows, ids = torch.from_numpy(drawn[:, 0]), torch.from_numpy(drawn)
        optimizer.zero_grad()
        loss(model(augment(films.x[rows], ids, seed, epoch) - 0.5), y[rows]).backward()
        optimizer.step()
        rate.step()
    return model.eval()


@torch.inference_mode()
def logits(model: nn.Module, films: Films) -> NDArray[np.float64]:
    return torch.cat([model(part - 0.5) for part in films.x.split(1000)])[:, 0].double().numpy()


def judge(model: nn.Module, val: Films, test: Films, ratio: int) -> list[float]:
    """The measures of one run; temperature, and the threshold of specificity 0.9, are of the validation films."""
    assert isinstance(SPEC.target, ClassTarget)
    decision = SPEC.target.fit_decision(logits(model, val), val.y, "specificity@0.9")
    p, positive = SPEC.target.probabilities(logits(model, test), decision.temperature)[:, 1], test.y == 1
    weight = np.where(positive, 1.0, ratio * positive.sum() / (~positive).sum())
    auroc, auprc = (float(value[0]) for value in Ranking(p, positive).auroc_and_ap(weight[None]))
    bins = Reliability(p, test.y)
    ece = float(bins.error(bins.sums(weight))[0])
    rates = [value for t in (0.5, decision.thresholds["opacity"])
             for value in ((p[positive] >= t).mean(), (p[~positive] < t).mean())]  # fmt: skip
    return [auroc, auprc, *map(float, rates), ece]


def interval(values: NDArray[np.float64]) -> str:
    """Mean and half the width of its 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few films, steps and seeds; its figures mean nothing")
    quick = parser.parse_args(argv).quick
    size = Size(train=300, val=150, test=150, positives=40, steps=10, seeds=2, ratios=(10,)) if quick else Size()
    torch.set_num_threads(1)
    started = time.monotonic()
    most = size.train // min(size.ratios), size.val // min(size.ratios)
    pool = draw_films(size.train + size.val, sum(most), "pool")
    test = draw_films(size.test, size.positives, "test")
    print(f"{len(pool.y) + len(test.y)} films drawn in {time.monotonic() - started:.0f} s", flush=True)
    results: dict[tuple[int, str], list[list[float]]] = {}
    for seed in range(size.seeds):
        order = stream(seed, "benchmark", "split")
        no, yes = (order.permutation(np.flatnonzero(pool.y == value)) for value in (0, 1))
        for ratio in size.ratios:
            rare = size.train // ratio, size.val // ratio
            train = pool.take(np.r_[no[: size.train], yes[: rare[0]]])
            val = pool.take(np.r_[no[size.train :], yes[most[0] : most[0] + rare[1]]])
            for method in METHODS:
                found = judge(trained(method, train, size, seed), val, test, ratio)
                results.setdefault((ratio, method), []).append(found)
        print(f"seed {seed} done after {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n| 1: | method | {' | '.join(MEASURES)} |\n|---|---|{'---|' * len(MEASURES)}")
    for ratio in size.ratios:
        for method in METHODS:
            columns = np.array(results[ratio, method]).T
            print(f"| {ratio} | {method} | {' | '.join(interval(column) for column in columns)} |")


if __name__ == "__main__":
    main()
