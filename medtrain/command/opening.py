"""Say on the terminal and in run.json what a training knows of its data before it begins."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from medtrain.command import build, precision
from medtrain.core.cores import cores
from medtrain.data.base import Data
from medtrain.data.rows.covariates import in_words
from medtrain.io.record import RunRecord
from medtrain.report import Imbalance, imbalance, imbalance_table
from medtrain.target import DataSpec, LabelCounts

if TYPE_CHECKING:  # training looks at no picture
    from medtrain.inspection import Inspection

HINT_FROM = 10  # the imbalance factor from which on the opening says what helps


def note_data(record: RunRecord, data: Data, trainer: pl.Trainer) -> None:
    """Write into the record what the run knows of its data and its machine."""
    record.update(
        spec=data.spec.to_dict(),
        unit=data.noun,
        fingerprints=data.fingerprints,
        excluded=data.excluded,
        **({"held_out": data.held_out} if data.held_out else {}),
        **({"encoder": encoder.fingerprint()} if (encoder := getattr(data, "encoder", None)) else {}),
        **_control(record, data),
        imbalance=imbalance_of(data),
        synthetic=data.synthetic,
        world_size=trainer.world_size,
        devices={
            "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
            "count": trainer.world_size,
            "name": device_name(trainer),
            "cpus": cores(),
            "threads": torch.get_num_threads(),
        },
        precision=str(trainer.precision),
    )


def _control(record: RunRecord, data: Data) -> dict[str, Any]:
    """Give what the record says of a control: it stands in the model's name, wherever that is shown."""
    if not (control := data.cfg.get("control")):
        return {}
    name, mark = str(record.fields.get("model") or ""), f" (data.control={control})"
    return {"control": control, "model": name.removesuffix(mark) + mark}


def train_counts(data: Data) -> LabelCounts | None:
    """Count the labels of the training split, for losses that weigh classes."""
    if data.targets is None:
        return None
    return data.spec.target.count(data.targets[data.rows("train")])


def imbalance_of(data: Data | Inspection) -> Imbalance:
    """Compute {split: {class: counts, factor and weight}}, for the record; {} for data without class labels."""
    if data.targets is None or data.spec is None:
        return {}
    return imbalance(data.spec, data.targets, data.cases["patient"].to_numpy(), data.cases["split"].to_numpy())


def tell_imbalance(cfg: DictConfig, spec: DataSpec, by_split: Imbalance, noun: str = "images") -> None:
    """Print the table, what is lacking, and what to do if nothing is done yet; `noun` names the cases."""
    if "train" not in by_split:
        return
    build.say(imbalance_table(spec, by_split, noun))
    if absent := [name for name, row in by_split["train"].items() if not row["images"]]:
        shown = ", ".join(absent[:5]) + ", ..." * (len(absent) > 5)
        build.warn(f"no {noun.removesuffix('s')} of the training split has {shown}: the model can't learn it")
    worst = max((row["factor"] or 0 for row in by_split["train"].values()), default=0)
    names = {str(node._target_).rpartition(".")[2] for node in (cfg.loss, cfg.sampler)}
    if worst >= HINT_FROM and names == {"cross_entropy", "Shuffle"}:
        build.say(f"imbalance factor {worst:,.0f}: sampler=balanced or loss=balanced_cross_entropy counts it in")


def tell_target(data: Data) -> None:
    """Say what was chosen of what is predicted, and what of its loss is an approximation."""
    cases, batches = len(data.rows("train")), len(data.train_dataloader())  # bags are limited by their instances too
    if choices := data.spec.target.choices:
        build.say(choices)
    if approximation := data.spec.target.approximation(math.ceil(cases / max(1, batches)), cases):
        build.warn(approximation)


def tell_encoder(data: Data) -> None:
    """Say what a frozen encoder has made of pictures or volumes, if there is one, and what that leaves out."""
    for line in data.encoded:
        build.say(line)


def device_name(trainer: pl.Trainer) -> str:
    """Name the device that trains, as people call it."""
    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.get_device_name(trainer.strategy.root_device)
    return platform.processor() or platform.machine()


def opening(cfg: DictConfig, data: Data, folder: Path) -> str:
    """Say in a few lines what is about to happen."""
    sizes = data.cases["split"].value_counts()
    parts = [f"{sizes.get(s, 0):,} {s}" for s in ("train", "val", "test")]
    mark = "synthetic data, " if data.synthetic else ""
    classes = ", ".join(data.spec.classes)
    held = data.held_out and "\nheld out: site {site} (data.fold={fold} of {sites} sites)".format(**data.held_out)
    beside = data.spec.covariates and f"\n{in_words(data.spec.covariates)}; model.fusion={cfg.model.get('fusion')}"
    more = (held or "") + (beside or "") + (data.planned and f"\n{data.planned}") + in_numbers(cfg)
    return (
        f"{cfg.task.name} on {cfg.data.name} ({mark}{data.cases['patient'].nunique():,} patients; "
        f"{data.noun}: {', '.join(parts)})\n{data.spec.target.kind}: {classes}; run folder {folder}{more}"
    )


def in_numbers(cfg: DictConfig) -> str:
    """Say in which numbers training computes, where that is left to the device, or can go wrong on it."""
    wanted, cuda = str(OmegaConf.select(cfg, "trainer.precision")), build.uses_cuda(cfg)
    if wanted in ("bf16", "bf16-mixed") and not cuda:
        return f"\nwarning: trainer.precision={wanted} on a processor: {precision.WRONG}"
    if wanted != "auto":
        return ""
    chosen = precision.settled("auto", cuda)
    why = "which the device computes in" if chosen == precision.HALF else "as no GPU computes in bfloat16 here"
    return f"\ntrainer.precision=auto: training in {chosen}, {why}"
