"""Kills the building of an image cache at random moments, each time starts it again, and compares the cache at the end.

    python scripts/kill_and_build.py FOLDER [--kills 30] [--images 400] [--seed 0]

Each build has the cache that the killed ones before it have left, until it is whole; then the next begins with none.
Prints a line a kill, and ends with 1 if a picture of any cache differs from those of an undisturbed one, or if
work that a build had committed is done again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from medtrain.io.image_form import ImageForm
from medtrain.io.store.fill import COMMIT_SECONDS
from medtrain.io.store.index import RECORD
from medtrain.io.store.pixels import ImageCache, cache_images

SIZE, FORM = 700, ImageForm((128, 128))
BUILD = """
import sys
from pathlib import Path
from scripts.kill_and_build import build
print("ready", flush=True)
print(build(Path(sys.argv[1]), Path(sys.argv[2])).decoded)
"""


def build(images: Path, cache: Path) -> ImageCache:
    """What each process does that may be killed; one thread, so that it takes its time."""
    return cache_images(sorted(images.glob("*.png")), FORM, cache, workers=1)


def start(images: Path, cache: Path) -> subprocess.Popen[str]:
    """A build that has imported what it needs."""
    words = [sys.executable, "-c", BUILD, str(images), str(cache)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def committed(cache: Path) -> int:
    """Files that a cache knows."""
    return sum(file.stat().st_size // RECORD.itemsize for file in cache.glob("images/*/*.index"))


def equal(cache: ImageCache, other: ImageCache) -> bool:
    """Pictures, depth and problems, whatever the order in which they came into the cache."""
    everyone = np.arange(len(cache))
    same = cache.dtype == other.dtype and cache.problems == other.problems
    return same and cache[everyone].tobytes() == other[everyone].tobytes()


def make_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (SIZE // 4, SIZE // 4)).astype(np.uint8))
        coarse.resize((SIZE, SIZE)).save(folder / f"{number:05d}.png", compress_level=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    images, cache, draw = arguments.folder / "images", arguments.folder / "cache", random.Random(arguments.seed)
    make_images(images, arguments.images)
    began = time.monotonic()
    whole = build(images, arguments.folder / "whole")
    seconds = time.monotonic() - began
    print(f"undisturbed: {whole.decoded} images in {seconds:.1f} s", flush=True)
    failed = kills = caches = 0
    while kills < arguments.kills or cache.exists():
        had, process = committed(cache), start(images, cache)
        if kills < arguments.kills:
            after = draw.uniform(0, 1.2 * max(seconds / 3, 2 * COMMIT_SECONDS))
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.kill()
        out = process.communicate()[0]
        if process.returncode:
            kills, has = kills + 1, committed(cache)
            print(f"{kills}: after {after:.2f} s, {has} images kept ({had} before)", flush=True)
            failed += has < had
            continue
        caches, again = caches + 1, build(images, cache)
        wrong = [f"{out.strip()} decoded, not {arguments.images - had}"] * (int(out) != arguments.images - had)
        wrong += ["decoded again"] * bool(again.decoded) + ["other pictures"] * (not equal(again, whole))
        print(f"whole after {kills} kills, {had} images kept: {', '.join(wrong) or 'equal'}", flush=True)
        failed += bool(wrong)
        shutil.rmtree(cache)
    print(f"{kills} kills, {caches} caches, {failed} faults")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
