"""Loading patches with masks (volume_seg) against patches of the same volumes without (volume_cls), from one store.

    python scripts/benchmarks/masks.py FOLDER [--volumes 8] [--size 96 192 192] [--patch 64] [--seconds 10]

Loader only: the same .nii.gz files at 1.5 mm, batches of 8 patches, in turns of a second so that what else the machine
does falls on both. Prints patches a second of each, and the ratio: 1 is as fast as volume_cls; without workers by
processor time too, on which a busy machine has little influence.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from medtrain.command.build import plain
from medtrain.config.compose import compose
from medtrain.config.quote import quote_paths
from medtrain.data.base import Data, Fixed
from medtrain.data.batches.masks import MaskData
from medtrain.data.batches.volumes import VolumeData

BATCH, EACH, SPACING = 8, 4, 1.5
TURN_S = 1.0


def write_cases(folder: Path, count: int, size: list[int]) -> Path:
    """Write volumes of noise with masks of two labels, each about a fiftieth of the voxels; returns their table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        image, mask = folder / f"v{n:03d}.nii.gz", folder / f"m{n:03d}.nii.gz"
        if not mask.exists():
            noise = np.random.default_rng(n).standard_normal(size[::-1], dtype=np.float32)
            smooth = gaussian_filter(noise, 6)
            low, high = np.quantile(smooth, (0.02, 0.98))
            affine = np.diag([1.0, 1.0, 2.0, 1.0])
            nib.save(nib.Nifti1Image((smooth * 4000 + noise * 15).astype(np.int16), affine), image)
            nib.save(nib.Nifti1Image(((smooth < low) + 2 * (smooth > high)).astype(np.uint8), affine), mask)
        rows.append({"image": image.name, "mask": mask.name, "label": n % 2, "patient": f"p{n}"})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def opened(kind: type[Data], table: Path, patch: int, workers: int) -> Data:
    """Open the cases, all of them for training."""
    words = ["task=volume_cls", "data=volume_table", *quote_paths([f"data.table={table}"], multirun=False)]
    cfg = plain(compose(words).cfg.data)
    cfg |= {"cache_dir": str(table.parent / "cache"), "spacing": SPACING, "patch_size": patch, "num_workers": workers}
    if kind is MaskData:
        cfg |= {"label_from": "mask", "modality": "other", "batch_size": BATCH, "patches_per_volume": EACH}
        cfg |= {"strides": [1, 2, 2], "foreground_share": 0.33}
    else:
        cfg |= {"batch_size": BATCH // EACH, "patches_per_volume": EACH, "window": [-1000.0, 400.0]}
    data = kind(cfg, fixed=Fixed(all_test=True))
    if isinstance(data, MaskData):  # plans by the training cases, of which there are none yet
        data.rows = lambda split: np.arange(len(data.cases))  # type: ignore[method-assign]
    data.prepare()
    data.cases["split"] = "train"
    return data


def batches(data: Data) -> Iterator[dict[str, Any]]:
    """Give training batches without end."""
    loader: Any = data.train_dataloader()
    epoch = 0
    while True:
        loader.batch_sampler.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=3, default=[96, 192, 192], metavar=("D", "H", "W"))
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    table = write_cases(args.folder, args.volumes, args.size)
    kinds = {"volume_cls": VolumeData, "volume_seg": MaskData}
    streams = {name: batches(opened(kind, table, args.patch, args.workers)) for name, kind in kinds.items()}
    for stream in streams.values():
        next(stream)
    patches, seconds, cpu = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    while min(seconds.values()) < args.seconds:
        for name, stream in streams.items():
            start, busy = time.perf_counter(), time.process_time()
            while time.perf_counter() - start < min(TURN_S, args.seconds):
                patches[name] += len(next(stream)["x"])
            seconds[name] += time.perf_counter() - start
            cpu[name] += time.process_time() - busy
    rates = {name: patches[name] / seconds[name] for name in kinds}
    figures = {f"{name}_patches_per_s": round(rate, 1) for name, rate in rates.items()}
    figures["ratio"] = round(rates["volume_seg"] / rates["volume_cls"], 2)
    if not args.workers:
        own = {name: patches[name] / cpu[name] for name in kinds}
        figures["ratio_by_processor_time"] = round(own["volume_seg"] / own["volume_cls"], 2)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
