"""What a worker that loads patches of large volumes keeps of memory: unshared MB above an idle one, epoch by epoch.

    python scripts/memory_volumes.py FOLDER [--volumes 4] [--epochs 5] [--size 400 512 512]

FOLDER takes the volumes (noise, as NIfTI) and their cache; an epoch visits each volume 25 times. What counts is
Private_Clean + Private_Dirty of /proc/PID/smaps_rollup at its highest: pages of the cache that only one process has
mapped count, too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from medtrain.command.build import plain
from medtrain.config.compose import compose
from medtrain.config.quote import quote_paths
from medtrain.data.base import Fixed
from medtrain.data.batches.volumes import VolumeData
from medtrain.sampler.weighted import Weighted


def unshared_mb(pid: int) -> float:
    """Memory that would be free if the process ended."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def write_volumes(folder: Path, count: int, size: list[int]) -> Path:
    rows = []
    for n in range(count):
        file = folder / f"v{n}.nii"
        if not file.exists():
            noise = np.random.default_rng(n).integers(-1000, 1000, size[::-1], dtype=np.int16)
            nib.save(nib.Nifti1Image(noise, np.diag([0.7, 0.7, 1.0, 1.0])), file)
        rows.append({"image": file.name, "label": n % 2, "patient": f"p{n}"})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


class Idle(torch.utils.data.Dataset):
    """What an idle worker has loaded: the same modules, and nothing else."""

    def __init__(self, other: torch.utils.data.Dataset) -> None:
        self.other = other

    def __len__(self) -> int:
        return 1

    def __getitem__(self, position: int) -> int:
        return position


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=3, default=[400, 512, 512], help="D H W")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    table = write_volumes(asked.folder, asked.volumes, asked.size)
    words = ["task=volume_cls", "data=volume_table", *quote_paths([f"data.table={table}"], multirun=False)]
    cfg = plain(compose(words).cfg.data) | {"cache_dir": str(asked.folder / "cache")}
    cfg |= {"patch_size": 64, "patches_per_volume": 4, "batch_size": 1, "num_workers": 1}
    sampler = functools.partial(Weighted, power=0.0, length=25 * asked.volumes)
    data = VolumeData(cfg, fixed=Fixed(all_test=True), build_sampler=sampler)
    data.prepare()
    data.cases["split"] = "train"
    loader = data.train_dataloader()
    idle = torch.utils.data.DataLoader(Idle(loader.dataset), num_workers=1, persistent_workers=True)
    feed = iter(idle)
    next(feed)
    time.sleep(1)
    floor = unshared_mb(feed._workers[0].pid)  # type: ignore[attr-defined]
    print(f"an idle worker: {floor:.0f} MB unshared")
    for epoch in range(asked.epochs):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        batches = iter(loader)
        next(batches)  # starts the worker
        with watched(loader._iterator._workers[0].pid) as told:  # type: ignore[union-attr]
            visits = 1 + sum(1 for _ in batches)
        print(f"epoch {epoch}: {visits} visits, at most {max(told) - floor:.0f} MB above an idle worker", flush=True)


@contextlib.contextmanager
def watched(worker: int) -> Iterator[list[float]]:
    """What a worker keeps, looked at all the time: a visit maps pages and lets them go."""
    told, over = [unshared_mb(worker)], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            told.append(unshared_mb(worker))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield told
    finally:
        over.set()
        looking.join()


if __name__ == "__main__":
    main()
