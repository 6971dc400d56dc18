"""Classes of volumes by a frozen encoder: the slices of their patches, their features through the head; a CSV out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.export.runtime.bags import graph_for
from medtrain.export.runtime.inputs import in_batches
from medtrain.export.runtime.started import Started
from medtrain.export.runtime.volumes import Columns, patches_of, predict


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict volumes; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    return predict(judge, network, folder, argv)


def judge(started: Started, volume: Any, columns: Columns) -> dict[str, NDArray[Any]]:
    """Encode all slices of a volume's patches, and let the head judge their features together."""
    slices = [x for patch in patches_of(volume, started.facts["input"]["form"]) for x in patch.swapaxes(0, 1)]
    encode = started.networks["model"]
    parts = [encode(slices=np.stack(batch))["features"] for batch in in_batches(slices, started.batch_size)]
    features = np.concatenate(parts)
    made: dict[str, NDArray[Any]] = graph_for(started, len(features), "head")(features=features, **columns)
    return made
