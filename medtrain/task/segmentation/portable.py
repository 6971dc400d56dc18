"""A segmentation as the graph of a window, and the plan by which predict.py goes through a volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.export.parity_masks import NEAR, compare_masks
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.model import members_of, specs_of
from medtrain.target import DataSpec
from medtrain.task.classification.portable_volumes import A_VOLUME, keep_volume, odd_volumes


class WindowNetwork(nn.Module):
    """The network of a window with its softmax or sigmoid, in the precision that is asked for."""

    def __init__(self, member: nn.Module, regions: bool, half: bool) -> None:
        super().__init__()
        self.network, self.regions, self.half_precision = member.half() if half else member, regions, half

    def forward(self, patches: Tensor) -> tuple[Tensor]:
        """Map standardised (N, C, D, H, W) float32 to probabilities (N, K, D, H, W) float32."""
        return (said_by(self.network, self.regions, patches.half() if self.half_precision else patches),)


def said_by(member: nn.Module, regions: bool, x_BCDHW: Tensor) -> Tensor:
    """Compute the probabilities of one network for a window."""
    logits: Tensor = member(x_BCDHW).float()
    return logits.sigmoid() if regions else logits.softmax(1)


def portable_masks(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a segmentation, or of an ensemble of them."""
    spec, target = task.spec, task.target
    regions = bool(target.regions)
    specs = specs_of(task.model, spec)
    outputs = {
        "probabilities": "(patches, K, D, H, W) float32, of each region"
        if regions
        else "(patches, K, D, H, W) float32, background first"
    }
    parts = {
        "model" if number == 1 else f"member_{number}": Part(
            WindowNetwork(member, regions, request.half).eval(),
            {"patches": _example(own)},
            {"patches": {0: "patches"}},
            outputs,
        )
        for number, (member, own) in enumerate(zip(members_of(task.model), specs, strict=True), start=1)
    }
    facts = {
        "channels": spec.channels,
        "mirrored": list(task.mirrored),
        "codes": list(target.file_codes),
        "layout": target.layout,
        "largest": task.largest,
        "members": {name: _seen_as(own) for name, own in zip(parts, specs, strict=True)},
    }
    return Portable(
        parts,
        "masks",
        reads=A_VOLUME,
        writes="a CSV with a row a volume, and beside it FILE_masks/ with a label map of each",
        suffix=".csv",
        strange=odd_volumes,
        keep=keep_volume,
        compare=compare_masks,
        facts={"input": facts},
        watch=note_ties,
    )


def _example(spec: DataSpec) -> Tensor:
    """Make two windows, (2, C, D, H, W)."""
    shape = (2, spec.channels, *spec.size)
    return torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


def _seen_as(spec: DataSpec) -> dict[str, Any]:
    """Say how a network sees a volume: windows, spacing, and the scale of its values."""
    scale = [list(channel) for channel in spec.intensity] or None
    return {"size": list(spec.size), "spacing": list(spec.spacing or ()), "intensity": scale}


def note_ties(task: Any) -> None:
    """Let the run note which voxels are so nearly of another label that the last bits may decide them."""
    task.near = NEAR
