"""Classes of volumes: files or DICOM series in, their patches through the network, pooled; a CSV out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.data.batches.patch_form import PatchForm
from medtrain.data.batches.patches import Case as Voxels
from medtrain.data.batches.patches import Visit, grid_of
from medtrain.data.batches.volume_files import unlike
from medtrain.data.batches.volumes import find_volumes
from medtrain.export.runtime.classes import one_by_one
from medtrain.export.runtime.columns import with_beside
from medtrain.export.runtime.inputs import in_batches
from medtrain.export.runtime.started import Started, begin
from medtrain.io.store.fill import reason_of
from medtrain.io.store.voxel_values import prepared_image
from medtrain.io.volume import Source, Triple, Volume
from medtrain.io.volume_source import read_volume

Columns = Mapping[str, NDArray[Any]]  # what a graph takes of the columns beside a case
Judge = Callable[[Started, Any, Columns], dict[str, NDArray[Any]]]  # what a case's columns are made of, of a volume


@dataclass(frozen=True)
class Held:
    """A volume in memory, as the cache of medtrain would hold it (`medtrain.io.store.voxels.Stored`)."""

    stored_CDHW: NDArray[Any]
    scale: Sequence[float]
    offset: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    box: Any
    affine: NDArray[np.float64]
    source: Source
    notes: Mapping[str, str]
    spacing: Sequence[float]

    @classmethod
    def of(cls, volume: Volume, spacing: Triple | None, window: Any = None) -> Any:
        """Make one of a volume, at this spacing."""
        stored, own = prepared_image(volume, spacing, window)
        plain = {key: own[key] for key in ("scale", "offset", "low", "high", "box", "notes", "spacing")}
        return cls(stored, **plain, affine=np.array(own["affine"]), source=volume.source)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored_CDHW.shape

    def mapped(self) -> NDArray[Any]:
        return self.stored_CDHW


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict volumes; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    return predict(judge, network, folder, argv)


def predict(judge_volume: Judge, network: Any, folder: Path, argv: Sequence[str] | None) -> int:
    """Read volumes and write what `judge_volume` says of each; returns as `main`."""
    begun = begin(network, folder, argv, with_beside(find_volumes))
    if begun is None:
        return 2
    started, (cases, beside) = begun
    facts = started.facts["input"]
    return one_by_one(
        started,
        cases,
        lambda n: (read_case(cases[n].paths, facts), beside.of([n])),
        lambda read: judge_volume(started, *read),
    )


def read_case(paths: Sequence[str], facts: dict[str, Any]) -> Any:
    """Read the volume, or volumes, of a case at the run's spacing, their values as medtrain keeps them.

    Args:
        paths: of one file with all channels, or of several.
        facts: the node `input` of model.json.

    Raises:
        ValueError: with a short reason.
    """
    return read_images(paths, facts["channels"], facts["spacing"], facts["form"]["window"])[1]


def read_images(
    paths: Sequence[str], channels: int, spacing: Any = None, window: Any = None
) -> tuple[list[Volume], Any]:
    """Read the files of a case: as they are, and as medtrain keeps them, a case of so many channels.

    Raises:
        ValueError: with a short reason.
    """
    if len(paths) == 1:
        volume = read_volume(paths[0])
        return [volume], Voxels((hold(paths[0], volume, spacing, channels, window),))
    volumes, held, faults = [], [], []
    for path in paths:
        try:
            volumes.append(read_volume(path))
            held.append(hold(path, volumes[-1], spacing, len(volumes[-1].x_CDHW), window))
        except Exception as error:  # of each it is said
            faults.append(reason_of(error))
    if faults:
        raise ValueError("; ".join(faults))
    case = Voxels(tuple(held))
    if apart := unlike(case):
        raise ValueError("; ".join(apart))
    if case.channels != channels:
        raise ValueError(f"{case.channels} channels, where {channels} are wanted")
    return volumes, case


def hold(path: str, volume: Volume, spacing: Any, channels: int, window: Any = None) -> Any:
    """Hold a volume at this spacing, and tell what is worth telling of it (ValueError where channels are others)."""
    held = Held.of(volume, spacing and tuple(spacing), window and tuple(window))
    if len(held.stored_CDHW) != channels:
        raise ValueError(f"{len(held.stored_CDHW)} channels, where {channels} are wanted")
    for text in held.notes.values():
        print(f"note: {Path(path).name} {text}", file=sys.stderr)
    return held


def judge(started: Started, volume: Any, columns: Columns) -> dict[str, NDArray[Any]]:
    """Run all patches of a volume through the network, then their logits through the graph that pools them."""
    instances = [
        started.networks["model"](patches=np.stack(batch), **columns)["instances"]
        for batch in in_batches(patches_of(volume, started.facts["input"]["form"]), started.batch_size)
    ]
    return started.networks["pool"](instances=np.concatenate(instances))


def patches_of(volume: Any, facts: dict[str, Any]) -> Iterator[NDArray[np.float32]]:
    """Cut the patches (C, D, H, W), 0..1, that a case is judged by, in order."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    form = PatchForm(**plain)
    visit, draw = Visit(volume, form), np.random.default_rng(0)  # nothing is drawn
    starts = grid_of(volume, form)
    for place in np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 3).tolist():
        patch = np.zeros((volume.channels, *form.size), np.float32)
        visit.patch((place[0], place[1], place[2]), patch, draw)
        yield patch
