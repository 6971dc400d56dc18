"""doctor: check whether this machine is fit to train: versions, devices, folders, cache, loading speed."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from medtrain.config import search
from medtrain.core.cores import cores, free_cores, limits
from medtrain.core.extras import pip_command
from medtrain.io import record
from medtrain.io.cache_root import FOLDERS, cache_root
from medtrain.launch.threads import SPINNING

Check = tuple[str, str, str]  # what, state (ok, note, error), detail


def main(cfg: DictConfig) -> int:
    """Print the checks; 1 if one that training needs failed. ``cache.clean=true`` empties the cache first."""
    root = cache_root(cfg.data.cache_dir)
    if cfg.cache.clean:
        print(f"removed {_gb(clean(root)):.2f} GB from {root}")
    checks = [
        *_versions(),
        *_devices(),
        _cores(),
        _guarded("threads", _threads),
        _guarded("DICOM", _dicom),
        _openslide(),
        _writable("working folder", Path(".")),
        _writable("cache", root),
        ("cache size", "ok", f"{_gb(size(root)):.2f} GB in {root} (cache.clean=true empties it)"),
        _user_configs(),
        _guarded("loading", _loading),
    ]
    table = Table(title="medtrain doctor")
    for name in ("check", "state", "detail"):
        table.add_column(name, overflow="fold")
    colours = {"ok": "green", "note": "yellow", "error": "red"}
    for what, state, detail in checks:
        table.add_row(what, f"[{colours[state]}]{state}[/]", detail)
    Console().print(table)
    failed = [what for what, state, _ in checks if state == "error"]
    if failed:
        print(f"not fit to train: {', '.join(failed)}")
    return 1 if failed else 0


def _user_configs() -> Check:
    """Name the folder of the user's own options, and the folders in it that hold none."""
    folder, others = search.user_folder(), search.passed_over()
    if folder is None:
        return "user configs", "ok", "none (./medtrain_configs or MEDTRAIN_CONFIG_DIR)"
    more = f"; no groups of options: {', '.join(others[:10])}{', ...' * (len(others) > 10)}" if others else ""
    return "user configs", "note" if others else "ok", f"{folder}{more}"


def _guarded(what: str, check: Callable[[], Check]) -> Check:
    """Run a check; whatever it raises is its finding, for a doctor doesn't die of the illness."""
    try:
        return check()
    except Exception as error:
        return what, "error", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _versions() -> list[Check]:
    versions = record.versions()
    checks: list[Check] = [("versions", "ok", ", ".join(f"{k} {v}" for k, v in versions.items()))]
    for name in ("torch", "torchvision", "pytorch_lightning", "hydra", "sklearn"):
        try:
            importlib.import_module(name)
        except Exception as error:
            checks.append((name, "error", f"cannot be imported: {error}"))
    return checks


def _devices() -> list[Check]:
    def operators() -> Check:
        import torch
        import torchvision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
        return "torchvision operators", "ok", "nms runs"

    def gpus() -> Check:
        import torch

        from medtrain.command.precision import cuda_has_bfloat16

        count = torch.cuda.device_count()
        if count == 0:
            return "GPU", "note", f"none; training runs on {cores()} CPU cores"
        names = [torch.cuda.get_device_name(i) for i in range(count)]
        return "GPU", "ok", f"{count}: {', '.join(names)}; bf16 {'yes' if cuda_has_bfloat16() else 'no'}"

    return [_guarded("torchvision operators", operators), _guarded("GPU", gpus)]


def _cores() -> Check:
    """Tell how many cores this process may use, who says so, and whether others want them too."""
    known = limits()
    strictest = min(known, key=lambda name: known[name])
    by = f", by its {strictest} ({known[strictest]:g})" if cores() < known["machine"] else ""
    allowance = f"{cores()} of {known['machine']:.0f}{by}"
    free = free_cores()
    if free is None or free >= 0.8 * cores():
        return "cores", "ok", allowance
    return "cores", "note", f"{allowance}; {free:.1f} are free, others use the rest: training will get its share only"


def _threads() -> Check:
    """Tell how many threads compute, and whether they spin while they wait."""
    import torch

    count, spinning = torch.get_num_threads(), {name: os.environ[name] for name in SPINNING if name in os.environ}
    shown = f"{count}; " + (", ".join(f"{name}={value}" for name, value in spinning.items()) or "waiting threads spin")
    if count > cores():
        return "threads", "note", f"{shown}: more than cores; set OMP_NUM_THREADS={cores()}"
    if spinning.get("OMP_WAIT_POLICY", "").upper() == "ACTIVE":
        return "threads", "note", f"{shown}: waiting threads spin, and training collapses where others want the cores"
    return "threads", "ok", shown


def _dicom() -> Check:
    import gdcm
    import pydicom

    return "DICOM", "ok", f"pydicom {pydicom.__version__}, GDCM {gdcm.Version.GetVersion()}"


def _openslide() -> Check:
    try:
        openslide = importlib.import_module("openslide")
        return "OpenSlide", "ok", str(openslide.__library_version__)
    except ImportError:
        return "OpenSlide", "note", f"not installed; only whole-slide tasks need it: {pip_command('openslide')}"


def _writable(what: str, folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return what, "error", f"{folder} can't be written to: {error.strerror}"
    free = _gb(shutil.disk_usage(folder).free)
    return what, "ok" if free > 5 else "note", f"{folder.absolute()}: {free:.0f} GB free"


def _loading() -> Check:
    """Decode and fit one 1,024 px PNG again and again for a second."""
    import numpy as np
    from PIL import Image

    from medtrain.io.image import read_fitted
    from medtrain.io.image_form import ImageForm

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.png"
        pixels = np.random.default_rng(0).normal(128, 30, (1024, 1024)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file)
        form, count, started = ImageForm((224, 224), 1), 0, time.perf_counter()
        while time.perf_counter() - started < 1.0:
            read_fitted(file, form)
            count += 1
        rate = count / (time.perf_counter() - started)
    return "loading", "ok", f"{rate:.0f} PNGs of 1,024 px a second and core (once; later epochs read the cache)"


def size(root: Path) -> int:
    """Count the bytes of all files under a folder."""
    return sum(p.stat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def clean(root: Path) -> int:
    """Remove what medtrain made in its cache folder, nothing else; returns the bytes removed."""
    removed = 0
    for name in FOLDERS:
        if (root / name).is_dir():
            removed += size(root / name)
            shutil.rmtree(root / name)
    return removed


def _gb(count: int) -> float:
    return count / 1e9
