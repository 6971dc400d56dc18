"""Loading patches of volumes: medtrain against MONAI's PersistentDataset and CacheDataset and TorchIO's Queue.

    pip install monai torchio psutil
    python scripts/benchmarks/volume.py FOLDER [--volumes 12] [--size 96 192 192] [--seconds 10] [--workers 2]

Loader only, the same .nii.gz files, resampled to 1.5 mm and windowed, patches of 64 x 64 x 64, four a volume and visit,
one after the other in one run, each in a process of its own that has imported its libraries and has its settings. The
first epoch holds whatever a loader prepares; later epochs are counted for some seconds, one at least. Memory is the
proportional set size (/proc/PID/smaps_rollup, Pss) of the process and its workers at the end, above that before the
start: shared pages count once.

Heavy packages are imported where they are used: processes that read volumes import this file too, as they import the
command `medtrain`, which is light.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PATCH, EACH, SPACING, WINDOW = 64, 4, 1.5, (-1000.0, 400.0)


def write_volumes(folder: Path, count: int, size: list[int]) -> list[Path]:
    import nibabel as nib
    import numpy as np
    from scipy.ndimage import gaussian_filter

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"v{n:03d}.nii.gz" for n in range(count)]
    for n, file in enumerate(files):
        if not file.exists():
            noise = np.random.default_rng(n).standard_normal(size[::-1], dtype=np.float32)
            hu = (gaussian_filter(noise, 3) * 4000 - 300 + noise * 15).astype(np.int16)
            nib.save(nib.Nifti1Image(hu, np.diag([1.0, 1.0, 2.0, 1.0])), file)
    return files


def medtrain_loader(files: list[Path], place: Path, workers: int) -> Callable[[], Any]:
    import pandas as pd

    from medtrain.command.build import plain
    from medtrain.config.compose import compose
    from medtrain.config.quote import quote_paths
    from medtrain.data.base import Fixed
    from medtrain.data.batches.volumes import VolumeData

    table = place / "table.csv"
    rows = [{"image": str(f), "label": n % 2, "patient": f.name} for n, f in enumerate(files)]
    pd.DataFrame(rows).to_csv(table, index=False)
    words = ["task=volume_cls", "data=volume_table", *quote_paths([f"data.table={table}"], multirun=False)]
    cfg = plain(compose(words).cfg.data)
    cfg |= {"cache_dir": str(place / "cache"), "spacing": SPACING, "window": list(WINDOW)}
    cfg |= {"patch_size": PATCH, "patches_per_volume": EACH, "batch_size": 2, "num_workers": workers}

    def begin() -> Any:
        data = VolumeData(cfg, fixed=Fixed(all_test=True))
        data.prepare()
        data.cases["split"] = "train"
        return data.train_dataloader()

    return begin


def monai_loader(kind: str) -> Callable[[list[Path], Path, int], Callable[[], Any]]:
    def build(files: list[Path], place: Path, workers: int) -> Callable[[], Any]:
        from monai import data, transforms

        steps = transforms.Compose(
            [
                transforms.LoadImaged("image", image_only=True, ensure_channel_first=True),
                transforms.Orientationd("image", "RAS", labels=None),
                transforms.Spacingd("image", (SPACING,) * 3, mode="bilinear"),
                transforms.ScaleIntensityRanged("image", *WINDOW, 0.0, 1.0, clip=True),
                transforms.RandSpatialCropSamplesd("image", (PATCH,) * 3, EACH, random_size=False),
            ]
        )
        items = [{"image": str(file)} for file in files]

        def begin() -> Any:
            if kind == "persistent":
                dataset = data.PersistentDataset(items, steps, cache_dir=place / "monai")
            else:
                dataset = data.CacheDataset(items, steps, num_workers=max(1, workers), progress=False)
            kept = {"num_workers": workers, "persistent_workers": workers > 0}
            return data.DataLoader(dataset, batch_size=2, shuffle=True, **kept)

        return begin

    return build


def torchio_loader(files: list[Path], place: Path, workers: int) -> Callable[[], Any]:
    import torchio as tio

    steps = tio.Compose(
        [tio.ToCanonical(), tio.Resample(SPACING), tio.RescaleIntensity((0, 1), in_min_max=WINDOW), tio.Clamp(0, 1)]
    )

    def begin() -> Any:
        subjects = tio.SubjectsDataset([tio.Subject(image=tio.ScalarImage(file)) for file in files], transform=steps)
        queue = tio.Queue(subjects, 8 * EACH, EACH, tio.UniformSampler(PATCH), num_workers=workers)
        return tio.SubjectsLoader(queue, batch_size=2 * EACH, num_workers=0)

    return begin


def pss_mb() -> float:
    import psutil

    me = psutil.Process()
    total = 0
    for process in (me, *me.children(recursive=True)):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total / 1024


def drain(loader: Iterable[Any]) -> int:
    count = 0
    for batch in loader:
        x = batch["x"] if "x" in batch else batch["image"]
        count += len(x["data"] if isinstance(x, dict) else x)
    return count


CONTESTANTS: dict[str, tuple[Callable[[list[Path], Path, int], Callable[[], Any]], tuple[str, ...]]] = {
    "medtrain": (medtrain_loader, ("medtrain.data.batches.volumes", "pandas", "yaml")),
    "MONAI PersistentDataset": (monai_loader("persistent"), ("monai.data", "monai.transforms")),
    "MONAI CacheDataset": (monai_loader("cache"), ("monai.data", "monai.transforms")),
    "TorchIO Queue": (torchio_loader, ("torchio",)),
}


def measure(name: str, folder: Path, files: list[Path], asked: argparse.Namespace) -> dict[str, float]:
    """One loader, in this process."""
    import torch

    build, libraries = CONTESTANTS[name]
    for library in libraries:
        importlib.import_module(library)
    torch.multiprocessing.set_sharing_strategy("file_system")
    place = folder / name.replace(" ", "_")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    begin = build(files, place, asked.workers)
    floor, start = pss_mb(), time.perf_counter()
    loader = begin()
    drain(loader)
    first, start, count = time.perf_counter() - start, time.perf_counter(), 0
    while not count or time.perf_counter() - start < asked.seconds:
        count += drain(loader)
    speed = count / (time.perf_counter() - start)
    return {"first": first, "speed": speed, "memory": pss_mb() - floor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=3, default=[96, 192, 192], help="D H W")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=CONTESTANTS, help="this loader, as JSON")
    asked = parser.parse_args()
    files = write_volumes(asked.folder / "volumes", asked.volumes, asked.size)
    if asked.only:
        print(json.dumps(measure(asked.only, asked.folder, files, asked)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("loader", "first epoch s", "later patches/s", "medtrain's speed", "MB above the start")
    ours = 0.0
    for name in CONTESTANTS:
        run = subprocess.run([sys.executable, *sys.argv, "--only", name], stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(run.stdout.splitlines()[-1])
        ours = ours or found["speed"]
        figures = f"{found['first']:.1f}", f"{found['speed']:.1f}", f"{ours / found['speed']:.1f} x"
        table.add_row(name, *figures, f"{found['memory']:.0f}")
        print(f"{name}: {found}", flush=True)
    Console().print(table)


if __name__ == "__main__":
    main()
