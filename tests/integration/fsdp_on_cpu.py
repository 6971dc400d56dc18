"""The command with FSDP on the CPU, which Lightning reserves for GPUs: the same strategy, under another name."""

import sys
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from medtrain.cli import main
from medtrain.command import build


class OnTheCPU(FSDPStrategy):
    def _setup_model(self, model: torch.nn.Module) -> torch.nn.Module:
        wrapped = FullyShardedDataParallel(model, device_id=torch.device("cpu"), **self.kwargs)  # full shards
        return cast(torch.nn.Module, wrapped)


def trainer(**settings: object) -> pl.Trainer:
    return pl.Trainer(**settings | ({"strategy": OnTheCPU()} if settings["strategy"] == "fsdp" else {}))  # type: ignore


class Lightning:
    """`pytorch_lightning`, but for its trainer."""

    Trainer = staticmethod(trainer)

    def __getattr__(self, name: str) -> object:
        return getattr(pl, name)


build.pl = Lightning()  # type: ignore
sys.exit(main(sys.argv[1:]))
