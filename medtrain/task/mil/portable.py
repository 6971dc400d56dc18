"""A classifier of bags as one graph: the features of one bag in, its calibrated decision and its attention out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.core.segments import Packed
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.io.bags import read_bag
from medtrain.model import members_of, relevance
from medtrain.model.neighbours import NeighbourNetwork
from medtrain.task.classification.portable import Judge, break_off, by_member, comparing, outputs_of_one, refuse_drawn

EXAMPLE = 6  # instances
ODD = 3  # instances of a small bag


class BagClassifier(nn.Module):
    """The network, which standardises features itself, with temperature, thresholds, and attention where it has any."""

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.network, self.judge = task.model.half() if request.half else task.model, Judge(task, request)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Map (N, D) float32 of one bag to what `bag_outputs` names."""
        bag = Packed(features, torch.arange(2, device=features.device) * features.shape[0])
        outputs = self.judge(by_member(self.network(bag).float()).double())
        relevance_N = relevance(self.network, bag)
        return tuple(output[0] for output in outputs) + (() if relevance_N is None else (relevance_N.float(),))


def bag_outputs(task: Any, part: nn.Module, features: Tensor) -> dict[str, str]:
    """Say what the outputs of `BagClassifier` are."""
    named = outputs_of_one(task)
    with torch.no_grad():
        attends = len(part(features)) > len(named)
    if attends:
        named["attention"] = "(instances,) float32, how much each has to do with the prediction"
    return named


def portable_bags(task: Any, request: ExportRequest) -> Portable:
    """Make the export of a classifier of bags.

    Raises:
        UsageError: what it reads, or adds at random, can't be exported.
    """
    refuse_drawn(task)
    if task.spec.dims:
        raise UsageError("export: this network takes tiles (data.tiles=true), which only medtrain cuts out of slides")
    if any(isinstance(member, NeighbourNetwork) for member in members_of(task.model)):
        raise UsageError(
            "model=neighbour_mil can't be exported yet: which tiles lie side by side is found by operators (unique, "
            "searchsorted) that ONNX has not; gated_attention_mil can"
        )
    network = BagClassifier(task, request).eval()
    turns = sorted({getattr(member, "turns_at", 0) for member in members_of(task.model)} - {0})
    several = bool(turns)
    parts = {"model": graph_of(task, network, turns[-1] + EXAMPLE if several else EXAMPLE, several)}
    parts |= {f"up_to_{most}": graph_of(task, network, most, several) for most in turns}
    seen = {"channels": task.spec.channels, "unit": request.data.get("unit") or "slide"}
    seen["graphs"] = {f"up_to_{most}": most for most in turns}
    return Portable(
        parts,
        "bags",
        reads="a bag of features (HDF5, as TRIDENT, CLAM, STAMP and `medtrain embed` write it)",
        writes="a CSV with a row a bag",
        suffix=".csv",
        strange=odd_bags,
        keep=keep_bag,
        compare=comparing(task),
        facts={"input": seen},
    )


def graph_of(task: Any, network: BagClassifier, length: int, several: bool) -> Part:
    """Describe the graph of bags with about so many instances.

    Args:
        several: it holds for some lengths alone, as others are computed in another way.
    """
    features = torch.linspace(-1, 1, length * task.spec.channels).reshape(length, task.spec.channels)
    axis: dict[str, dict[int, str]] = {"features": {0: "instances"}}
    outputs = bag_outputs(task, network, features)
    return Part(
        network, {"features": features}, {"features": {}} if several else axis, outputs, free=axis if several else {}
    )


def odd_bags(source: Path, folder: Path) -> None:
    """Write bags of one and of few instances, cut from a real one, one that is empty, and a file that breaks off."""
    x_ND = read_bag(source).x
    for length in (1, ODD):
        keep_bag(x_ND[:length], folder / f"odd_{length}")
    keep_bag(x_ND[:0], folder / "empty")
    keep_bag(x_ND[:, :1], folder / "narrow")
    break_off(folder / f"odd_{ODD}.h5", folder / "unreadable.h5")


def keep_bag(x_ND: np.ndarray, path: Path) -> Path:
    """Write a bag that lies in no file of its own as HDF5."""
    file = path.with_name(f"{path.name}.h5")
    with extra("h5py", "writing bags for the proof").File(file, "w") as opened:
        opened["features"] = x_ND
    return file
