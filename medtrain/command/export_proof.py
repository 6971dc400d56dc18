"""The proof of an export: real cases of the run's own test split through predict.py and through `predict`, compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.command import build
from medtrain.command.evaluate import run_loader
from medtrain.command.export_inputs import lay_out
from medtrain.command.trained import Trained
from medtrain.config.features import on_features
from medtrain.core.errors import MedtrainError
from medtrain.data.base import Data
from medtrain.export.folder import PARITY, network_of
from medtrain.export.parity import SHOWN, Limits, Parity
from medtrain.export.portable import ExportRequest, Portable
from medtrain.export.proof import run_alone
from medtrain.io.files import write_json
from medtrain.task.base import Task

LIMITS = {"fp32": 1e-5, "fp16": 1e-3}
TIMED, TIMED_BATCH = 5, 16


def prove(
    cfg: DictConfig,
    run: Trained,
    portable: Portable,
    staged: Path,
    facts: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Compare an export, written into the folder `staged`, with the run; returns what parity.json says.

    Args:
        facts: its model.json.
        folder: for files that are gone afterwards.

    Raises:
        MedtrainError: it predicts something else, or doesn't run; with what differs where.
    """
    inputs = folder / "inputs"
    inputs.mkdir()
    given, count = lay_out(cfg, run, portable, inputs)
    ours = folder / f"run{portable.suffix}"
    task = run.task(cfg)  # anew: what is exported may have other numbers
    portable.watch(task)
    refuse_nothing(predict(cfg, run, task, given, ours), count)
    limit = LIMITS[cfg.export.precision]
    limits = Limits(limit, cfg.export.precision != "fp32", run.decision.thresholds)
    requirements = (staged / "requirements.txt").read_text(encoding="utf-8").splitlines()
    by_batch: dict[int, Parity] = {}
    for size in (count, 1):
        theirs = folder / f"export_{size}{portable.suffix}"
        ran = run_alone(staged, requirements, str(given), str(theirs), "--batch-size", str(size))
        if not theirs.is_file() or ran.code not in (0, 1):
            last = ran.err.strip().splitlines()[-1:] or ["it said nothing"]
            raise MedtrainError(f"the export does not run (predict.py ended with {ran.code}): {last[0][:300]}")
        by_batch[size] = portable.compare(ours, theirs, limits)
    refuse_differences(by_batch, limit)
    largest = max(parity.largest for parity in by_batch.values())
    changed = sorted({text for parity in by_batch.values() for text in parity.changed})
    plain = task.portable(request_of(cfg, run, half=False))
    proof = {
        "cases": count,
        "also": sorted(path.name for path in inputs.iterdir() if not path.is_symlink()),
        "limit": limit,
        "largest": largest,
        "pixels": max(parity.pixels for parity in by_batch.values()),
        "voxels": max(parity.voxels for parity in by_batch.values()),
        "voxels_apart": max(parity.voxels_apart for parity in by_batch.values()),
        "changed": changed,
        "unsteady": sorted({text for parity in by_batch.values() for text in parity.unsteady}),
        "reference": "medtrain predict on CPU in 32 bits, of the same files",
        "batches": {str(size): parity.to_dict() for size, parity in by_batch.items()},
        "speed": round(speed(plain, staged, facts), 2),
        "threads": torch.get_num_threads(),
        "requirements": requirements,
    }
    write_json(staged / PARITY, proof)
    return proof


def request_of(cfg: DictConfig, run: Trained, half: bool) -> ExportRequest:
    """Say what is exported of a run."""
    encoder = build.data_parts(cfg)["encoder"] if on_features(cfg) else None
    return ExportRequest(run.decision, build.plain(cfg.data), half, encoder)


def predict(cfg: DictConfig, run: Trained, task: Task, given: Path, output: Path) -> Data:
    """Write what the run predicts of a folder or table, on the CPU in 32 bits as exports run; returns the cases."""
    cpu = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(cpu, DictConfig)
    with open_dict(cpu):
        cpu.trainer.update(accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto")
        cpu.input = str(given)
    trainer = build.trainer(cpu, output.parent, training=False)
    data = build.inputs(cpu, run.spec)
    run_loader(trainer, task, data, data.predict_dataloader)
    task.save(output, task.results, data, replace(run.decision, sets={}))
    return data


def refuse_nothing(data: Data, count: int) -> None:
    """Refuse (MedtrainError) a proof in which the run could read none of the real cases: it would show nothing."""
    if not len(data.readable):
        why = next(iter(data.errors.values()), "unknown")
        raise MedtrainError(f"the run can read none of the {count} cases itself ({why}): nothing to prove it with")


def refuse_differences(by_batch: Mapping[int, Parity], limit: float) -> None:
    """Refuse an export that predicts something else than its run (MedtrainError), with what differs where."""
    faults = [f"  batches of {size}: {text}" for size, parity in by_batch.items() for text in parity.faults]
    if faults:
        more = [f"  ... and {len(faults) - SHOWN} more"] * (len(faults) > SHOWN)
        head = f"the export predicts something else than the run (more than {limit:g}), and is not written:"
        raise MedtrainError("\n".join([head, *faults[:SHOWN], *more]))


def speed(portable: Portable, staged: Path, facts: Mapping[str, Any]) -> float:
    """Measure how many times as fast as torch the exported network is, in this process on this CPU, by medians."""
    (name, part), *_ = portable.parts.items()
    network = network_of(facts["format"])(staged, facts["networks"][name])
    counted = [key for key in part.inputs if 0 in {**part.batch[key], **part.free.get(key, {})}]
    batch = {
        key: torch.cat([example] * max(1, TIMED_BATCH // len(example))) if key in counted else example
        for key, example in part.inputs.items()
    }
    arrays = {key: value.numpy() for key, value in batch.items()}
    part.network.eval()
    with torch.no_grad():
        own = seconds(lambda: part.network(*batch.values()))
    return own / seconds(lambda: network(**arrays))


def seconds(call: Callable[[], Any]) -> float:
    """Take the median time of a call, after one that counts not."""
    call()
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return median(times)
