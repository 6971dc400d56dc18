"""What does checkpointing save, and what does it cost? Memory and time of a training step, with and without.

    python scripts/benchmarks/checkpointing.py                  # on a GPU where there is one
    python scripts/benchmarks/checkpointing.py --size 64 --batch 2 resnet18_3d

`kept` is what autograd keeps between the forward and the backward pass, counted tensor by tensor (it stands in run.json
as `model_memory`). `peak` is measured: on a GPU the most that was allocated during a step, above what was there before
it; on a CPU how far the resident memory of a process of its own grows. The step is the same in both, to the last bit.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch

from medtrain import model
from medtrain.model import kept_bytes
from medtrain.target import DataSpec

NETWORKS = ("resnet18_3d", "resnet50_3d", "densenet121_3d", "densenet121")


def spec_of(name: str, size: int) -> DataSpec:
    dims = 3 if name.endswith("_3d") else 2
    return DataSpec.of("binary", ("no", "yes"), 1, (size if dims == 3 else 4 * size,) * dims)


def step(name: str, size: int, batch: int, on: bool) -> tuple[float, float]:
    """Peak MB and seconds of a training step, after one that warms up."""
    device, spec = torch.device("cuda" if torch.cuda.is_available() else "cpu"), spec_of(name, size)
    network = getattr(model, name)(spec, checkpointing=on).to(device)
    x = torch.rand(batch, 1, *spec.size, device=device)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    small = torch.rand(batch, 1, *[max(17, n // 4) for n in spec.size], device=device)
    network(small).sum().backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 1e6
    started = time.perf_counter()
    network(x).sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 1e6 - before, time.perf_counter() - started
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before, time.perf_counter() - started


def kept(name: str, size: int, batch: int, on: bool) -> float:
    """MB between the forward and the backward pass."""
    spec = spec_of(name, size)
    with torch.device("meta"):
        return kept_bytes(getattr(model, name)(spec, checkpointing=on), torch.rand(batch, 1, *spec.size)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--size", type=int, default=48, help="voxels a side; images have four times as many pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--one", choices=("on", "off"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(*step(asked.networks[0], asked.size, asked.batch, asked.one == "on"))
        return
    print("| network | kept MB, without | with | saved | peak MB, without | with | saved | time |")
    print("|---|---|---|---|---|---|---|---|")
    for name in asked.networks:
        counted = [kept(name, asked.size, asked.batch, on) for on in (False, True)]
        words = [sys.executable, __file__, name, "--size", str(asked.size), "--batch", str(asked.batch), "--one"]
        done = [subprocess.run([*words, on], capture_output=True, text=True, check=True) for on in ("off", "on")]
        (peak, took), (peak_on, took_on) = ([float(v) for v in each.stdout.split()] for each in done)
        cells = [f"{counted[0]:.0f}", f"{counted[1]:.0f}", f"{1 - counted[1] / counted[0]:.0%}"]
        cells += [f"{peak:.0f}", f"{peak_on:.0f}", f"{1 - peak_on / peak:.0%}", f"{took_on / took:.2f} times"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
