"""A store of pictures that survives kills, torn files, dead locks, full disks and foreign folders."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import MedtrainError
from medtrain.io.image import read_fitted
from medtrain.io.image_form import ImageForm
from medtrain.io.store import fill, lock, pixels, segment
from medtrain.io.store.index import RECORD
from medtrain.io.store.pixels import ImageCache, cache_images

FORM = ImageForm((16, 16))
BUILD = """
import sys, time
from pathlib import Path
from medtrain.io.image_form import ImageForm
from medtrain.io.store import fill, lock, pixels
from medtrain.io.store.pixels import cache_images
read = pixels.read_identified
pixels.read_identified = lambda *given: time.sleep({slow}) or read(*given)
fill.Codec.commit_seconds, lock.PATIENCE, lock.LEASE_SECONDS = 0.1, 0.0, 2.0
paths = sorted(Path(sys.argv[1]).glob("*.png"))
print("ready", flush=True)
sys.stdin.readline()
print(cache_images(paths, ImageForm((16, 16)), Path(sys.argv[1]) / "cache", workers=1).decoded, flush=True)
"""
Build = Callable[[float], subprocess.Popen[str]]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{n:02d}.png" for n in range(40)]
    for file in files:
        Image.fromarray(draw.integers(0, 256, (20, 20)).astype(np.uint8)).save(file)
    return files


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """A process that fills the cache when it is let go, taking so many seconds a picture."""
    monkeypatch.setattr(lock, "LEASE_SECONDS", 2.0)

    def start(slow: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", BUILD.format(slow=slow), str(tmp_path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    return start


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def cached(paths: list[Path]) -> ImageCache:
    return cache_images(paths, FORM, paths[0].parent / "cache")


def right(cache: ImageCache, paths: list[Path]) -> bool:
    return all(np.array_equal(cache[[n]][0], read_fitted(path, FORM)) for n, path in enumerate(paths))


def indices(paths: list[Path]) -> list[Path]:
    return sorted((paths[0].parent / "cache").glob("images/*/*.index"))


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def committed(paths: list[Path]) -> int:
    return sum(file.stat().st_size for file in indices(paths)) // RECORD.itemsize


def test_kills_in_the_middle_lose_little(paths: list[Path], build: Build) -> None:
    done = 0
    for _ in range(2):
        process, before = build(0.05), done
        let_go(process)
        wait_for(lambda: committed(paths) >= before + 5)  # noqa: B023
        process.kill()
        process.wait()
        done = committed(paths)
    began = time.monotonic()
    cache = cached(paths)  # takes over the lock of the dead, without waiting for its heartbeat
    assert cache.decoded == 40 - done < 36 and right(cache, paths)
    assert time.monotonic() - began < 10 and cached(paths).decoded == 0


def test_two_at_once_decode_each_file_once(paths: list[Path], build: Build) -> None:
    first, second = build(0.1), build(0.1)
    let_go(first)
    wait_for(lambda: [lock for lock in (paths[0].parent / "cache").glob("images/*/lock") if lock.stat().st_size])
    let_go(second)
    (one, _), (two, said) = first.communicate(), second.communicate()
    assert [int(one), int(two)] == [40, 0]
    assert f"waiting for process {first.pid} on " in said
    assert right(cached(paths), paths)


def test_a_silent_holder_is_taken_over_and_does_no_harm(paths: list[Path], build: Build) -> None:
    process = build(0.05)
    let_go(process)
    wait_for(lambda: committed(paths) >= 5)
    process.send_signal(signal.SIGSTOP)  # there, but no heartbeat
    assert right(cached(paths), paths)
    process.send_signal(signal.SIGCONT)  # it goes on, in a segment of its own
    out, said = process.communicate()
    assert int(out) == 40, said
    assert len(indices(paths)) == 2 and cached(paths).decoded == 0 and right(cached(paths), paths)


def test_a_torn_tail_is_ignored(paths: list[Path]) -> None:
    cached(paths[:10])
    (file,) = indices(paths)
    whole = file.read_bytes()
    for tail in (whole[:30], bytes(RECORD.itemsize), whole[:60] + b"torn" + whole[:17]):
        file.write_bytes(whole + tail)
        assert cached(paths[:10]).decoded == 0
    file.write_bytes(whole[:-5])
    cache = cached(paths)
    assert cache.decoded == 1 + 30 and right(cache, paths)


def test_records_without_their_pixels_are_ignored(paths: list[Path]) -> None:
    cached(paths[:10])
    pixels = indices(paths)[0].with_suffix(".uint8")
    os.truncate(pixels, 16 * 16 * 3 + 100)
    cache = cached(paths[:10])
    assert cache.decoded == 7 and right(cache, paths[:10])
    pixels.unlink()
    assert cached(paths[:10]).decoded == 3


@pytest.mark.parametrize("after", [0, 7, 23])
def test_a_full_disk_is_an_error_and_the_store_stays_usable(
    paths: list[Path], after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = os.write, []

    def fill(handle: int, data: bytes) -> int:
        written.append(handle)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    monkeypatch.setattr(segment.os, "write", fill)
    with pytest.raises(MedtrainError, match=r"cannot be written: No space left.*\n.*data.cache_dir"):
        cached(paths)
    monkeypatch.undo()
    kept = committed(paths)
    cache = cached(paths)
    assert cache.decoded == 40 - kept and right(cache, paths)


def test_a_file_size_limit_ends_in_an_error_too(paths: list[Path], tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + BUILD.format(slow=0), str(tmp_path)], input="\n", capture_output=True, text=True
    )
    assert done.returncode == 1 and "MedtrainError" in done.stderr and "File too large" in done.stderr
    cache = cached(paths)
    assert cache.decoded < 40 and right(cache, paths)  # eleven pictures fitted


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(paths: list[Path], tmp_path: Path) -> None:
    cached(paths[:5])
    folders = [tmp_path / "cache", *(tmp_path / "cache").rglob("*/")]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert cached(paths[:5]).decoded == 0
        with pytest.raises(MedtrainError, match="cannot be written: Permission denied"):
            cached(paths)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_cache_folder_that_is_a_file(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(MedtrainError, match="cannot be written"):
        cached(paths)


def test_a_writer_that_lost_its_lock_harms_nobody(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "only_one", lambda file, report: contextlib.nullcontext())
    inner: list[ImageCache] = []

    def meanwhile(done: int, total: int) -> None:
        if not inner:
            inner.append(cached(paths))

    cache = cache_images(paths, FORM, paths[0].parent / "cache", meanwhile)
    assert len(indices(paths)) == 2 and right(cache, paths) and right(inner[0], paths)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
import torch
from medtrain.data.loading import LaterBatches, loader
from medtrain.data.batches.images import CaseImages
from medtrain.io.image_form import ImageForm
from medtrain.io.store.pixels import cache_images
paths = sorted(Path(sys.argv[1]).glob("*.png")) * 1000
cache = cache_images(paths, ImageForm((16, 16)), Path(sys.argv[1]) / "cache")
rows = np.arange(len(paths))
data = CaseImages(cache, rows, rows, torch.from_numpy(rows % 2.0)[:, None].float())

def own(pid="self"):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty"))

for workers in (0, 2):
    batches = loader(data, LaterBatches(torch.utils.data.SequentialSampler(rows), 512, False), workers)
    for _ in range(3):
        for batch in batches: pass
        pids = [w.pid for w in batches._iterator._workers] if workers else ["self"]
        print(*[own(pid) for pid in pids], flush=True)
"""


def test_memory_grows_neither_with_epochs_nor_with_workers(paths: list[Path], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kb = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    for passes in (kb[:3], kb[3:]):
        assert max(passes[-1]) - max(passes[1]) < 1000, kb  # of 40,000 entries


def test_whatever_a_reader_stumbles_over_costs_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(path)
    read = pixels.read_identified

    def stumbles(path: str, form: ImageForm) -> object:
        if path.endswith("1.png"):
            raise stumble
        return read(path, form)

    monkeypatch.setattr(pixels, "read_identified", stumbles)
    for stumble in (OverflowError("too large"), MemoryError(), OSError(5, "input/output error"), KeyError("x")):
        cache = cache_images(paths, ImageForm((8, 8)), tmp_path / type(stumble).__name__)
        assert cache.problems.keys() == {1} and cache[[0, 2]].max() == 2
    stumble = OSError(28, "no space left")  # the disk is full: no fault of the file
    with pytest.raises(MedtrainError):
        cache_images(paths, ImageForm((8, 8)), tmp_path / "full")
    monkeypatch.undo()
    assert not cache_images(paths, ImageForm((8, 8)), tmp_path / "MemoryError").problems  # not remembered
