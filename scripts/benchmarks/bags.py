"""How fast an epoch over feature bags is: packed store and packed batches, against one HDF5 bag opened at a time.

    python scripts/benchmarks/bags.py --bags 200 --folder /a/disk/with/room

writes TRIDENT-like bags (once), packs them (once), and times epochs of both ways: with reading and arithmetic, and
arithmetic alone. Each way runs in turns with the other, so that a busy machine slows both; the best of the rounds
counts. One at a time is what CLAM and its kin do: for each bag open the file, read it, one step.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import nn

from medtrain.core.segments import Packed, segment_offsets
from medtrain.data.batches.packed import CaseBags, PackedBatches, even_cuts
from medtrain.data.loading import loader
from medtrain.io.store.features import PackedBags, pack_bags
from medtrain.io.trident import write_trident
from medtrain.model.mil import gated_attention_mil
from medtrain.sampler import Shuffle
from medtrain.target import DataSpec

WIDTH = 1024


def write(folder: Path, number: int, low: int, high: int, layout: str) -> list[str]:
    """Bags of `low` to `high` instances, log-uniform, as HDF5 float16.

    Args:
        layout: rows, each row a chunk of its own, as CLAM and TRIDENT write files that can grow; whole, in one piece;
            own, as medtrain writes bags of slides, which it maps where they are.
    """
    draw, files = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(number):
        length = round(float(np.exp(draw.uniform(np.log(low), np.log(high)))))
        file = folder / f"bag{n:04d}_{length}.h5"
        if not file.is_file():
            x_ND = np.random.default_rng(n).standard_normal((length, WIDTH), np.float32).astype(np.float16)
            rows: dict[str, Any] = {"chunks": (1, WIDTH), "maxshape": (None, WIDTH)} if layout == "rows" else {}
            if layout == "own":
                write_trident(file, x_ND, np.zeros((length, 2), np.int64), {"name": file.stem}, "noise", {})
            else:
                with h5py.File(file, "w") as h5:
                    h5.create_dataset("features", data=x_ND, **rows)
        files.append(str(file))
    return files


def packed(bags: PackedBags, instances: int, workers: int, processes: int = 0) -> Iterator[tuple[Packed, torch.Tensor]]:
    """Our way: batches of about `instances` instances from the memory map, by threads, or by processes."""
    number = len(bags)
    y = (torch.arange(number) % 2).float()[:, None]
    data = CaseBags(bags, [[n] for n in range(number)], np.arange(number), y, threads=0 if processes else workers)
    sampler = Shuffle(np.zeros(number), None, batch_size=number, seed=0)
    for batch in loader(data, PackedBatches(sampler, bags.lengths, number, instances, True), processes, 2):
        yield Packed(batch["x"], batch["offsets"]), batch["y"]


def one_by_one(files: list[str]) -> Iterator[tuple[Packed, torch.Tensor]]:
    """The usual way: a file, a bag, a step."""
    for n, file in enumerate(files):
        with h5py.File(file, "r") as h5:
            x = torch.from_numpy(h5["features"][()])
        yield Packed(x, segment_offsets([len(x)])), torch.tensor([[float(n % 2)]])


def epoch(batches: Iterator[tuple[Packed, torch.Tensor]], device: torch.device, steps: bool) -> float:
    """Seconds of an epoch; without `steps` of the reading alone."""
    torch.manual_seed(0)
    network = gated_attention_mil(DataSpec.of("binary", ("0", "1"), WIDTH)).to(device)
    optimizer, started = torch.optim.AdamW(network.parameters()), time.perf_counter()
    for bags, y in batches:
        bags = Packed(bags.x.to(device, non_blocking=True), bags.offsets.to(device))
        if steps:
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(bags), y.to(device)).backward()
            optimizer.step()
        else:
            bags.x.float().sum()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def forget(files: list[str]) -> None:
    """Ask the system to drop these files from its memory, as if they were too many for it."""
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--bags", type=int, default=200)
    parser.add_argument("--smallest", type=int, default=500)
    parser.add_argument("--largest", type=int, default=20_000)
    parser.add_argument("--instances", type=int, default=16_384)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layout", choices=("rows", "whole", "own"), default="rows", help="of the HDF5 files")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    files = write(asked.folder / asked.layout, asked.bags, asked.smallest, asked.largest, asked.layout)
    started = time.perf_counter()
    bags = pack_bags(files, asked.folder)
    seconds, total = time.perf_counter() - started, int(bags.lengths.sum())
    print(f"{len(files)} bags, {total:,} instances x {WIDTH}; packed in {seconds:.1f} s")
    stored = files if asked.layout == "own" else [str(file) for file in asked.folder.rglob("*.data")]
    held = [(Packed(bag.x.clone(), bag.offsets), y) for bag, y in one_by_one(files[:16])]
    cuts = even_cuts(
        np.array([len(each.x) for each, _ in held]), max(1, sum(len(e.x) for e, _ in held) // asked.instances)
    )
    together = [join(held[a:b]) for a, b in zip([0, *cuts], [*cuts, len(held)], strict=True)]

    def whole(cold: bool, steps: bool) -> tuple[Callable[[], float], Callable[[], float]]:
        def ours() -> float:
            forget(stored if cold else [])
            return epoch(packed(bags, asked.instances, asked.workers), device, steps)

        def theirs() -> float:
            forget(files if cold else [])
            return epoch(one_by_one(files), device, steps)

        return ours, theirs

    ways = {
        "epoch, files not in memory": whole(cold=True, steps=True),
        "reading alone, files not in memory": whole(cold=True, steps=False),
        "reading alone, files in memory": whole(cold=False, steps=False),
        "reading by threads and by processes": (
            lambda: epoch(packed(bags, asked.instances, asked.workers), device, False),
            lambda: epoch(packed(bags, asked.instances, 0, max(asked.workers, 1)), device, False),
        ),
        "arithmetic of 16 bags alone": (
            lambda: epoch(iter(together), device, True),
            lambda: epoch(iter(held), device, True),
        ),
    }
    for name, (ours, theirs) in ways.items():
        times = [(ours(), theirs()) for _ in range(asked.rounds)]
        mine, other = (min(column) for column in zip(*times, strict=True))
        against = "processes" if "processes" in name else "one at a time"
        print(f"{name}: packed {mine:.2f} s, {against} {other:.2f} s, {other / mine:.2f} times as fast")


def join(batches: list[tuple[Packed, torch.Tensor]]) -> tuple[Packed, torch.Tensor]:
    """Several batches of a bag each as one."""
    x = torch.cat([bags.x for bags, _ in batches])
    return Packed(x, segment_offsets([len(bags.x) for bags, _ in batches])), torch.cat([y for _, y in batches])


if __name__ == "__main__":
    main()
