"""Run folders: reserved by one atomic mkdir, and found again to go on.

Two jobs that start in the same second must not write into one folder, and a job that starts again after a kill
must find its own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config.saved import load_saved
from medtrain.core import process
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data import source
from medtrain.io import record
from medtrain.io.files import sha256, write_text

# Root keys that don't make another run of the same configuration.
NEUTRAL = (
    *("verb", "resume", "run", "runs", "input", "output", "name", "format", "debug", "trust"),
    *("cache", "compare", "explain", "export", "inspect", "sweep"),
)


def reserve(wanted: Path) -> Path:
    """Make a new folder, with a suffix where `wanted` exists already."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    for i in range(1, 10_000):
        folder = wanted if i == 1 else wanted.with_name(f"{wanted.name}_{i}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise UsageError(f"{wanted}: ten thousand folders of that name; clean up or give hydra.run.dir=...")


def claim(folder: Path) -> Path:
    """Make the folder that the user named; one that holds a run is refused, unless it ended before any checkpoint.

    Raises:
        UsageError: a run is there.
    """
    fields = record.look(folder)
    lost_nothing = fields.get("status") in ("failed", "interrupted") and not list(folder.glob("checkpoints/*.ckpt"))
    if ((folder / "config.yaml").is_file() or fields) and not lost_nothing:
        go_on = "" if fields.get("status") == record.DAMAGED else f"go on with it by resume={folder}, or "
        raise UsageError(
            f"hydra.run.dir={folder} already holds a run ({state(folder)}); {go_on}give another hydra.run.dir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"hydra.run.dir={folder}: cannot make the folder: {error.strerror}") from error
    return folder


def retake(cfg: DictConfig, folder: Path) -> None:
    """Make the folder of a sweep's job, or take it again after an attempt that came to nothing.

    Raises:
        UsageError: what lies there is a run of another configuration, or on other data.
    """
    fields = record.look(folder)
    if fields and fields.get("fingerprint") != fingerprint(cfg):
        raise UsageError(
            f"{folder} holds a run of another configuration, or its table has changed; can't go on with it"
        )
    folder.mkdir(parents=True, exist_ok=True)


def state(folder: Path) -> str:
    fields = record.look(folder)
    return str(fields["error"]) if fields.get("status") == record.DAMAGED else record.status(fields)


def fingerprint(cfg: DictConfig, read_files: bool = True) -> str:
    """Hash what makes two runs the same one: configuration and table content, not how it was started.

    Args:
        read_files: False compares configurations alone, whatever stands in their files of data.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain = {k: v for k, v in plain.items() if k not in (*NEUTRAL, "hydra")}
    data = plain["data"] = {k: v for k, v in plain["data"].items() if k not in ("cache_dir", "num_workers")}
    for key, files in source.files_of(data).items() if read_files else ():
        hashes = [sha256(file) for file in files]
        data[key] = hashes if isinstance(data[key], list) else hashes[0]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def to_resume(cfg: DictConfig, home: Path, own: Path | None) -> Path | None:
    """Find the folder that `resume` means, or None for a new run.

    Args:
        cfg: with ``resume`` a folder or ``auto``.
        home: where the runs of this task lie, for ``auto``.
        own: the folder that the user named for this run, if any: then ``auto`` looks nowhere else.

    Raises:
        UsageError: the folder holds no run, or that run is alive.
    """
    if cfg.resume is None:
        return None
    if cfg.resume != "auto":
        folder = Path(cfg.resume)
        if not record.read(folder):
            raise UsageError(f"resume={folder}: no run there (no {record.FILE}); give a run folder, or resume=auto")
        return _not_alive(folder)
    same = fingerprint(cfg)
    runs = [own] if own is not None else list(home.glob("*")) if home.is_dir() else []
    read = [(record.look(folder), folder) for folder in runs]
    for fields, folder in read:
        if fields.get("status") == record.DAMAGED:
            print(f"resume=auto: not going on with {folder}: {fields['error']}")
    candidates = [(fields, folder) for fields, folder in read if fields and fields.get("fingerprint") == same]
    if own is None:
        candidates = [(r, folder) for r, folder in candidates if r.get("status") != "finished"]
    if not candidates:
        _tell_of_other_files(cfg, runs)
        return None
    return _not_alive(max(candidates, key=lambda item: str(item[0].get("heartbeat")))[1])


def _tell_of_other_files(cfg: DictConfig, runs: list[Path]) -> None:
    """Say which unfinished runs of this configuration are not gone on with, since their files of data have changed."""
    same = fingerprint(cfg, read_files=False)
    for folder in sorted(runs):
        file = folder / "config.yaml"
        if not file.is_file() or record.look(folder).get("status") in (None, "finished", record.DAMAGED):
            continue
        try:
            saved = load_saved(folder)
        except MedtrainError as error:
            print(f"resume=auto: not going on with {folder}: {error}")
            continue
        if isinstance(saved, DictConfig) and "data" in saved and fingerprint(saved, read_files=False) == same:
            names = ", ".join(f"data.{key}" for key in source.files_of(cfg.data))
            print(f"resume=auto: not going on with {folder}: {names} has changed since it began; a new run starts")


def _not_alive(folder: Path) -> Path:
    """Make sure that nobody works in a run folder.

    Raises:
        UsageError: its process runs, or has given a sign of life within the last minute.
    """
    fields = record.read(folder)
    if record.is_alive(fields) and process.lives(fields) is None and process.is_here(fields):
        print(
            f"{folder}: of another container on this machine; waiting for a sign of life, a minute at most", flush=True
        )
        fields = record.watch(folder)
    if record.is_alive(fields):
        owner = (
            f"process {fields.get('pid')} on {fields.get('host')}, heard of {max(0, record.age_s(fields)):.0f} s ago"
        )
        after = "" if process.lives(fields) else f"; after {record.LOST_AFTER_S:.0f} s of silence it counts as lost"
        raise UsageError(f"resume: {folder} is still running ({owner}); wait for it, or end it first{after}")
    return folder


def save_config(cfg: DictConfig, folder: Path, *, of_run: bool = True) -> None:
    """Write the resolved configuration; that of a run, which others start from, without what one start only has."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain.pop("hydra", None)
    if of_run:
        plain |= {"resume": None, "run": None, "trust": [], "debug": False, "sweep": {"retry": None}}
    ordered = dict(sorted(plain.items(), key=lambda item: (isinstance(item[1], dict), item[0])))
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(ordered)))


def absolute_paths(cfg: DictConfig) -> None:
    """Make the paths of data and of an encoder's weights independent of the working folder, in place."""
    for key in (*source.path_keys(cfg.data.name), source.CACHE):
        if cfg.data.get(key.name):
            cfg.data[key.name] = key.absolute(cfg.data)
    encoder = cfg.get("encoder") or {}
    if (weights := encoder.get("weights")) and (
        place := Path(str(weights).removeprefix("local-dir:")).expanduser()
    ).exists():
        cfg.encoder.weights = str(place.absolute())
    if cfg.get("init_from"):
        cfg.init_from = str(Path(cfg.init_from).expanduser().absolute())
