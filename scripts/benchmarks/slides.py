"""How fast tiles are read: by `medtrain embed`, by one process that calls read_region, by a torch DataLoader.

    python scripts/benchmarks/slides.py --workers 2

CLAM and TRIDENT read with such a DataLoader. All three give the same uint8 tiles, batch by batch, to one process. They
take turns, the start of processes is not counted, and medians over the rounds are printed. Slides: phantoms
whose stored JPEG tiles of 256 px are the tiles that are read, and of 240 px, as many scanners write them; each read
directly and, as a slide would be that only OpenSlide can read, through OpenSlide. With --slide also one's own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from medtrain.core.streams import stream
from medtrain.data.phantom.histology import draw_layout, draw_textures, stain
from medtrain.data.phantom.slide import MASK, write_slide
from medtrain.data.slide.readers import Readers
from medtrain.data.slide.tiles import Survey, Tiling, survey
from medtrain.io.slide import Slide, View

BATCH = 64
PHANTOM = 2048  # pixels a side; the slides repeat it


def make_slide(path: Path, repeats: int, stored: int) -> None:
    """A slide as wide as real ones are: a row of tiles is more than a reader's cache holds."""
    draw = stream(0, "benchmark")
    layout = draw_layout(draw, PHANTOM // MASK, True, False)
    pixels = stain(draw, layout, draw_textures(draw), PHANTOM)
    write_slide(path, np.tile(pixels, (1, repeats, 1)), tile=stored)


class Tiles(Dataset[torch.Tensor]):
    """Tiles by number through OpenSlide; each worker opens the slide at its first tile."""

    def __init__(self, found: Survey) -> None:
        self.path, self.coords, self.view = str(found.slide.path), found.coords, found.view
        self.slide: openslide.OpenSlide | None = None

    def __len__(self) -> int:
        return len(self.coords)

    def __getitem__(self, number: int) -> torch.Tensor:
        if self.slide is None:
            self.slide = openslide.OpenSlide(self.path)
        return torch.from_numpy(np.array(region(self.slide, self.coords[number], self.view)))


def region(slide: openslide.OpenSlide, at: NDArray[np.int64], view: View) -> NDArray[np.uint8]:
    side = round(view.px * view.factor)
    picture = slide.read_region((int(at[0]), int(at[1])), view.level, (side, side)).convert("RGB")
    return np.asarray(picture if side == view.px else picture.resize((view.px, view.px)))


class Part:
    """Numbers of tiles; shortened for a first round that starts the processes."""

    def __init__(self, whole: int) -> None:
        self.whole, self.length = whole, whole

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.length))

    def __len__(self) -> int:
        return self.length


def fresh_slide(link: Path, path: Path, tiling: Tiling, direct: bool, level: int) -> Slide:
    """The slide under another name, of which no process holds decoded tiles."""
    link.symlink_to(path.absolute())
    slide = Slide(link, tiling.slide_mpp, tiling.default_mpp, direct)
    slide.reader(level)
    return slide


def measure(path: Path, tiling: Tiling, workers: int, rounds: int, direct: bool = True) -> None:
    """Print a row; the three take turns, so that what else the machine does hits them alike."""
    found = survey(str(path), tiling)
    slide = openslide.OpenSlide(str(path))
    part = Part(len(found.coords))
    loader = DataLoader(Tiles(found), BATCH, sampler=part, num_workers=workers, persistent_workers=True)
    with Readers(workers, tiling.px, BATCH) as readers, tempfile.TemporaryDirectory() as folder:
        links = [Path(folder) / f"{turn}{path.suffix}" for turn in range(rounds + 1)]
        fresh = [fresh_slide(link, path, tiling, direct, found.view.level) for link in links]
        reader = fresh[0].reader(found.view.level)
        ways: list[Callable[[], int]] = [
            lambda: sum(len(region(slide, at, found.view)) > 0 for at in found.coords),
            lambda: sum(len(batch) for batch in loader),
            lambda: sum(len(batch.rows) for batch in readers.tiles(replace(found, slide=fresh.pop()))),
        ]
        part.length = min(part.whole, BATCH * workers)
        ways[1](), ways[2]()  # start the processes
        part.length = part.whole
        seconds = np.zeros((rounds, len(ways)))
        for turn in range(rounds):
            for number, way in enumerate(ways):
                started = time.perf_counter()
                assert way() == part.whole
                seconds[turn, number] = time.perf_counter() - started
    rates = part.whole / np.median(seconds, 0)
    against = np.median(seconds[:, :2] / seconds[:, 2:], 0)
    cells = [path.name, f"{part.whole:,}", reader, *(f"{rate:,.0f}" for rate in rates), *(f"{a:.1f}" for a in against)]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--repeats", type=int, default=20, help=f"the phantom is so many times {PHANTOM} pixels wide")
    words.add_argument("--slide", action="append", default=[], help="a slide of your own")
    chosen = words.parse_args()
    print(f"{os.cpu_count()} cores, {chosen.workers} workers, tiles of 256 px, a second; load {os.getloadavg()[0]:.1f}")
    print("| slide | tiles | reader | read_region loop | DataLoader | embed | times loop | times DataLoader |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for stored in (256, 240):
            path = Path(folder) / f"stored_{stored}px.tiff"
            make_slide(path, chosen.repeats, stored)
            for direct in (True, False):
                measure(path, Tiling(), chosen.workers, chosen.rounds, direct)
    for path in chosen.slide:
        measure(Path(path), Tiling(default_mpp=0.5), chosen.workers, chosen.rounds)


if __name__ == "__main__":
    main()
