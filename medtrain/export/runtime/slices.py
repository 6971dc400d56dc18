"""Classes of volumes by a frozen encoder: the slices of their patches, their features through the head; a CSV out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.data.batches.volumes import find_volumes
from medtrain.export.runtime.bags import graph_for
from medtrain.export.runtime.classes import one_by_one
from medtrain.export.runtime.inputs import in_batches, list_cases
from medtrain.export.runtime.started import Started, begin
from medtrain.export.runtime.volumes import patches_of, read_case


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict volumes; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    begun = begin(network, folder, argv, lambda own: list_cases(own.input, own.facts["rows"], find_volumes))
    if begun is None:
        return 2
    started, cases = begun
    facts = started.facts["input"]
    return one_by_one(started, cases, lambda n: read_case(cases[n].path, facts), lambda volume: judge(started, volume))


def judge(started: Started, volume: Any) -> dict[str, NDArray[Any]]:
    """Encode all slices of a volume's patches, and let the head judge their features together."""
    slices = [x for patch in patches_of(volume, started.facts["input"]["form"]) for x in patch.swapaxes(0, 1)]
    encode = started.networks["model"]
    parts = [encode(slices=np.stack(batch))["features"] for batch in in_batches(slices, started.batch_size)]
    features = np.concatenate(parts)
    made: dict[str, NDArray[Any]] = graph_for(started, len(features), "head")(features=features)
    return made
