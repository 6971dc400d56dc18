"""How long a training takes to its first batch on a table of a million rows whose images are in the cache.

    python scripts/benchmarks/million_rows.py FOLDER [ROWS]

FOLDER (needs about 6 GB and a million free inodes) gets tiny PNGs of distinct content, a table and the cache; what is
there from an earlier call is used again. The cache is filled by a first process; the table of stages is of a second one
that finds it built. Seconds are of the clock and of the processor: on a busy machine the latter are what counts.
"""

from __future__ import annotations

import argparse
import functools
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.command.build import plain
from medtrain.config.compose import compose
from medtrain.config.quote import quote_paths
from medtrain.data import splitting
from medtrain.data.base import Data
from medtrain.data.batches import pictures
from medtrain.data.batches.images import ImageData
from medtrain.data.rows import manifest

Seconds = NDArray[np.float64]  # of the clock, of the processor
Taken = dict[str, Seconds]
STAGES = (
    (manifest, "read_table", "the CSV"),
    (manifest, "_identify", "paths, patients, missing files"),
    (manifest, "read_labels", "labels"),
    (manifest, "_repeated", "rows and cases that repeat"),
    (pictures, "cache_images", "the cache: stat, look-up, open"),
    (splitting, "assign_splits", "splits"),
    (splitting, "drop_leaked", "leaks"),
    (Data, "_take", "cases"),
    (Data, "table_digest", "fingerprint"),
    (Data, "train_dataloader", "sampler and loader"),
)


def fabricate(folder: Path, rows: int) -> Path:
    """`folder`/table_<rows>.csv and its images: three films a patient, ten findings in `A|B` lists, four sites."""
    file = folder / f"table_{rows}.csv"
    if file.exists():
        return file
    draw = np.random.default_rng(0)
    film = draw.integers(0, 256, (32, 32)).astype(np.uint8)
    names = np.array([f"finding {n}" for n in range(10)])
    has = draw.random((rows, 10)) < np.geomspace(0.2, 0.002, 10)
    lines = ["path,label,patient,site,age"]
    for n in range(rows):
        name = f"images/{n // 1000:04d}/{n:07d}.png"
        if n % 1000 == 0:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        film[0, :4] = n >> np.array([24, 16, 8, 0]) & 255  # the number makes the content the film's own
        Image.fromarray(film).save(folder / name, "PNG", compress_level=1)
        label = "|".join(names[has[n]]) or "No Finding"
        lines.append(f"{name},{label},p{n // 3:06d},s{n % 4},{20 + n % 70}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def node(folder: Path, file: Path) -> dict[str, Any]:
    changed = {"image_size": 32, "cache_dir": str(folder / "cache"), "num_workers": 0}
    words = ["data=image_table", *quote_paths([f"data.table={file}"], multirun=False)]
    return dict(plain(compose(words).cfg.data)) | changed


def time_stages(taken: Taken) -> None:
    """Wrap each stage, so that its seconds add up in `taken`."""
    for owner, name, what in STAGES:
        setattr(owner, name, _timed(getattr(owner, name), what, taken))


def _timed(call: Any, what: str, taken: Taken) -> Any:
    @functools.wraps(call)
    def stage(*args: Any, **named: Any) -> Any:
        began = clocks()
        try:
            return call(*args, **named)
        finally:
            taken[what] += clocks() - began

    return stage


def clocks() -> Seconds:
    return np.array([time.perf_counter(), time.process_time()])


def start(folder: Path, file: Path) -> None:
    taken: Taken = {what: np.zeros(2) for _, _, what in STAGES}
    time_stages(taken)
    data = ImageData(node(folder, file), progress=lambda *at: print("decoding", *at, end="\r", file=sys.stderr))
    began = clocks()
    data.prepare()
    batches = iter(data.train_dataloader())
    before = clocks()
    next(batches)
    taken["first batch"] = clocks() - before
    total = clocks() - began
    for what, seconds in {**taken, "all the rest": total - np.sum([*taken.values()], 0), "total": total}.items():
        print(f"{what:45}{seconds[0]:8.2f} s{seconds[1]:8.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(data.cases):,} rows, {data.decoded:,} decoded, {peak:.1f} GB at most")


def main() -> None:
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("folder", type=Path)
    asks.add_argument("rows", type=int, nargs="?", default=1_000_000)
    asks.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the stages, in this process
    args = asks.parse_args()
    folder, rows = args.folder, args.rows
    file = fabricate(folder, rows)
    if args.here:
        start(folder, file)
        return
    for _ in range(2):
        subprocess.run([sys.executable, __file__, str(folder), str(rows), "--here"], check=True)


if __name__ == "__main__":
    main()
