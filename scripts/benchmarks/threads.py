"""What do OpenMP's waiting threads cost? Training steps of DenseNet-121 at 64 px, quiet and beside busy programs.

    python scripts/benchmarks/threads.py [--spins 2000,3000,4000] [--neighbours 2] [--samples 8] [--minutes 20]

A process a setting: the libraries' own (spinning for milliseconds), one thread, and spinning so many turns
(GOMP_SPINCOUNT). They take turns of a second, so that all see the same machine. A quiet turn counts only if other
programs used less than an eighth of a core meanwhile; on a shared machine that takes patience (`--minutes`). Beside
neighbours, which each keep a core busy, every turn counts; sharing alone would leave half of the quiet rate where there
are as many neighbours as cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from medtrain.core.cores import free_cores

SPINNING = ("OMP_", "GOMP_", "KMP_", "MKL_")
TURN_S = 1.0
WORKER = """
import sys, time, torch
from torchvision.models import densenet121
torch.manual_seed(0)
network = densenet121(weights=None, num_classes=2)
x, y = torch.rand(16, 3, 64, 64), torch.randint(0, 2, (16,))
optimizer = torch.optim.SGD(network.parameters(), 1e-3)
def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(x), y).backward()
    optimizer.step()
step()
print("ready", flush=True)
for line in sys.stdin:
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < float(line):
        step()
        steps += 1
    print(16 * steps / (time.perf_counter() - start), flush=True)
"""


class Worker:
    """A process that trains when it is told to, under one setting."""

    def __init__(self, name: str, **variables: str) -> None:
        self.name = name
        clean = {key: value for key, value in os.environ.items() if not key.startswith(SPINNING)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=clean | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def turn(self) -> tuple[float, float]:
        """Train for a second; returns images a second, and the cores that others used meanwhile."""
        before, own, start = _busy(), self._ticks(), time.time()
        assert self.process.stdin is not None
        self.process.stdin.write(f"{TURN_S}\n")
        self.process.stdin.flush()
        rate, hertz = float(self._line()), os.sysconf("SC_CLK_TCK")
        return rate, ((_busy() - before) - (self._ticks() - own)) / hertz / (time.time() - start)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _ticks(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])


def _busy() -> int:
    user, nice, system, _, _, *more = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return user + nice + system + sum(more[:3])


def quiet(workers: Sequence[Worker], samples: int, minutes: float) -> dict[str, list[float]]:
    """Take turns while nobody else computes, until each worker has its samples or the time is up."""
    rates: dict[str, list[float]] = {worker.name: [] for worker in workers}
    tries, end = dict.fromkeys(rates, 0), time.time() + 60 * minutes
    while time.time() < end and min(map(len, rates.values())) < samples:
        if (free_cores(0.25) or 0) < 0.85 * (os.cpu_count() or 1):
            time.sleep(0.3)
            continue
        worker = min(workers, key=lambda w: (len(rates[w.name]), tries[w.name]))
        tries[worker.name] += 1
        rate, others = worker.turn()
        if others < 1 / 8:
            rates[worker.name].append(rate)
    return rates


def beside(workers: Sequence[Worker], samples: int, neighbours: int) -> dict[str, list[float]]:
    """Take turns beside busy programs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(neighbours)]
    try:
        turns = [{w.name: w.turn()[0] for w in workers} for _ in range(samples)]
        return {w.name: [rates[w.name] for rates in turns] for w in workers}
    finally:
        for process in busy:
            process.kill()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", default="1000,2000,3000,4000,10000")
    for name, default in (("neighbours", 2), ("samples", 8), ("minutes", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(argv)
    workers = [Worker("library's own"), Worker("one thread", OMP_NUM_THREADS="1")]
    workers += [Worker(f"{spins} turns", GOMP_SPINCOUNT=spins) for spins in given.spins.split(",")]
    try:
        alone, shared = quiet(workers, given.samples, given.minutes), beside(workers, given.samples, given.neighbours)
    finally:
        for worker in workers:
            worker.process.kill()
    whole = median(alone["library's own"] or [float("nan")])
    print(f"| waiting | quiet, images/s (samples) | of the library's own | beside {given.neighbours} busy | of it |")
    print("|---|---|---|---|---|")
    for name, rates in alone.items():
        rate, busy = median(rates or [float("nan")]), median(shared[name])
        print(f"| {name} | {rate:.0f} ({len(rates)}) | {rate / whole:.2f} | {busy:.0f} | {busy / whole:.2f} |")


if __name__ == "__main__":
    main()
