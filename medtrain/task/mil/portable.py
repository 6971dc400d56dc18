"""A classifier of bags as one graph: the features of one bag in, its calibrated decision and its attention out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medtrain.core.cells import cells_around
from medtrain.core.errors import UsageError
from medtrain.core.extras import extra
from medtrain.core.segments import Packed
from medtrain.export.portable import ExportRequest, Part, Portable
from medtrain.io.bags import read_bag
from medtrain.model import members_of, relevance
from medtrain.model.neighbours import NeighbourNetwork
from medtrain.task.classification.portable import (
    Judge,
    break_off,
    by_member,
    columns_beside,
    comparing,
    outputs_of_one,
    refuse_drawn,
)

EXAMPLE = 6  # instances
ODD = 3  # instances of a small bag


class BagClassifier(nn.Module):
    """The network, which standardises features itself, with temperature, thresholds, and attention where it has any."""

    def __init__(self, task: Any, request: ExportRequest) -> None:
        super().__init__()
        self.network, self.judge = task.model.half() if request.half else task.model, Judge(task, request)

    def forward(self, features: Tensor, columns: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map (N, D) float32 of one bag to what `bag_outputs` names.

        Args:
            columns: beside the bag, coded (1, V) float32, of networks that take any.
        """
        return self.judged(Packed(features, alone(features), columns=columns))

    def judged(self, bag: Packed) -> tuple[Tensor, ...]:
        """Judge one bag, and say what of it counts."""
        outputs = self.judge(by_member(self.network(bag).float()).double())
        relevance_N = relevance(self.network, bag)
        return tuple(output[0] for output in outputs) + (() if relevance_N is None else (relevance_N.float(),))


class PlacedBagClassifier(BagClassifier):
    """The same of networks whose instances see others around them."""

    def forward(  # type: ignore[override]
        self, features: Tensor, cells: Tensor, around: Tensor, columns: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Map the same, with (N,) and (M, P) int64 of `cells_around`."""
        return self.judged(Packed(features, alone(features), columns=columns, cells=(cells, around)))


def alone(features: Tensor) -> Tensor:
    """Compute the offsets of features (N, D) that are one bag."""
    return torch.arange(2, device=features.device) * features.shape[0]


def bag_outputs(task: Any, part: nn.Module, inputs: Iterable[Tensor]) -> dict[str, str]:
    """Say what the outputs of `BagClassifier` are."""
    named = outputs_of_one(task)
    with torch.no_grad():
        attends = len(part(*inputs)) > len(named)
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
    reaches = {member.reach for member in members_of(task.model) if isinstance(member, NeighbourNetwork)}
    if len(reaches) > 1:
        raise UsageError(
            f"export: members see {' and '.join(map(str, sorted(reaches)))} tiles around each (model.reach), where one "
            "graph has one list of neighbours; make ensembles of those that see as far"
        )
    reach = next(iter(reaches), None)
    network = (PlacedBagClassifier if reach else BagClassifier)(task, request).eval()
    turns = sorted({getattr(member, "turns_at", 0) for member in members_of(task.model)} - {0})
    several = bool(turns)
    lengths = {"model": turns[-1] + EXAMPLE if several else EXAMPLE} | {f"up_to_{most}": most for most in turns}
    parts = {name: graph_of(task, network, length, several, reach) for name, length in lengths.items()}
    seen = {"channels": task.spec.channels, "unit": request.data.get("unit") or "slide"}
    seen |= {"reach": reach, "tile_edge": request.data.get("tile_edge")} if reach else {}
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


def graph_of(task: Any, network: BagClassifier, length: int, several: bool, reach: int | None = None) -> Part:
    """Describe the graph of bags with about so many instances.

    Args:
        several: it holds for some lengths alone, as others are computed in another way.
        reach: how far instances see others around them.
    """
    features = torch.linspace(-1, 1, length * task.spec.channels).reshape(length, task.spec.channels)
    axis: dict[str, dict[int, str]] = {"features": {0: "instances"}}
    inputs = {"features": features}
    if reach:
        coords_N2 = np.stack([np.arange(length) // 2, np.zeros(length)], 1)  # two tiles a place
        cells, around = cells_around(coords_N2, np.zeros(length, np.int64), reach, np)
        inputs |= {"cells": torch.from_numpy(cells), "around": torch.from_numpy(around)}
        axis |= {"cells": {0: "instances"}, "around": {0: "places"}}
    inputs |= columns_beside(task, 1)
    outputs = bag_outputs(task, network, inputs.values())
    bound: dict[str, dict[int, str]] = {name: {} for name in inputs}
    counted = bound if several else bound | axis
    return Part(network, inputs, counted, outputs, free=axis if several else {})


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
