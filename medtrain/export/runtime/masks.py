"""Masks of volumes: files or DICOM series in, windows through the networks; label maps on the files' own grids out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.sliding import Window, mean_of_views
from medtrain.data.batches.mask_cases import MaskCase
from medtrain.data.batches.mask_facts import has_spacing, moments_of, own_scale
from medtrain.data.batches.patches import Case as Images
from medtrain.data.batches.volumes import find_volumes
from medtrain.data.rows.channels import by_channel, fault_of
from medtrain.explain.names import names_of_maps
from medtrain.export.runtime.inputs import Case, list_cases, tell, write_whole
from medtrain.export.runtime.started import Predict, begin
from medtrain.export.runtime.volumes import Held, read_images
from medtrain.io.own_grid import View, decided, folder_of_maps, masks_ml, mean_of, write_on_own
from medtrain.io.store.fill import reason_of


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict label maps; returns 0, 1 where any volume could not be read, 2 where nothing could be done."""
    begun = begin(network, folder, argv, lambda own: list_cases(own.input, own.facts["rows"], find_volumes))
    if begun is None:
        return 2
    started, cases = begun
    facts, classes = started.facts["input"], started.facts["target"]["classes"]
    graphs = {name: window_of(started.networks[name], facts["mirrored"]) for name in facts["members"]}
    cases, errors = put_together(cases, started.input, facts["channels"])
    maps, names = folder_of_maps(started.output), names_of_maps(case.name for case in cases)
    maps.mkdir(parents=True, exist_ok=True)
    volumes: dict[int, list[float]] = {}
    for number, case in enumerate(cases):
        if number in errors:
            continue
        try:
            own, views = read_case(case.paths, facts, graphs)
        except Exception as error:  # a bad file costs only itself
            errors[number] = reason_of(error)
            continue
        probs_KDHW, spacing = mean_of(views, own)
        label, masks = decided(probs_KDHW, spacing, own, facts["codes"], facts["layout"], facts["largest"])
        write_on_own(label, own, case.path, maps / names[number])
        volumes[number] = masks_ml(masks, own.spacing)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "mask", "error", *(f"volume_ml_{name}" for name in classes if volumes)])
    for number, case in enumerate(cases):
        ml = volumes.get(number)
        file = f"{maps.name}/{names[number]}" if ml else ""
        cells = ([""] * len(classes) if ml is None else list(map(repr, ml))) if volumes else []
        writer.writerow([case.name, file, errors.get(number, ""), *cells])
    write_whole(started.output, text.getvalue())
    return tell(cases, errors, started.output)


def put_together(cases: Sequence[Case], given: Path, number: int) -> tuple[list[Case], dict[int, str]]:
    """Make a case of the files CASE_0000, ... of a folder, as medtrain does; and tell what is wrong with it, by number.

    Args:
        number: of channels.
    """
    grouped = (
        by_channel([case.name for case in cases], [case.path for case in cases], number) if given.is_dir() else None
    )
    if grouped is None:
        return list(cases), {}
    made: list[Case] = []
    errors: dict[int, str] = {}
    for name, own in grouped.items():
        first = cases[min(own.values())]
        if fault := fault_of(own, number):
            errors[len(made)] = fault
        paths = [cases[own[channel]].path for channel in sorted(own)]
        made.append(Case(name, first.patient, paths[0], beside=tuple(paths[1:])))
    return made, errors


def read_case(paths: Sequence[str], facts: Mapping[str, Any], graphs: Mapping[str, Window]) -> tuple[Any, list[View]]:
    """Read a volume: in its first file's own voxels, and as each of the networks sees it.

    Args:
        paths: of one file with all channels, or of several.
        facts: the node `input` of model.json.
        graphs: the networks, by name.

    Raises:
        ValueError: with a short reason.
    """
    volumes, images = read_images(paths, facts["channels"])
    own = images.images[0]
    views, held = [], {tuple(own.spacing): images}
    for name, seen in facts["members"].items():
        z, y, x = seen["spacing"]
        working = images if has_spacing(own, (z, y, x)) else held.get((z, y, x))
        working = working or Images(tuple(Held.of(volume, (z, y, x)) for volume in volumes))
        held[z, y, x] = working
        scale_C4 = seen["intensity"] or own_scale(np.concatenate([moments_of(image) for image in working.images]))
        views.append(View(graphs[name], MaskCase(working, np.array(scale_C4)), seen["size"], (z, y, x)))
    return own, views


def window_of(graph: Predict, mirrored: Sequence[int]) -> Window:
    """Make of a graph what gives the probabilities of a window, the mean over mirrored views."""

    def run(x_BCDHW: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(graph(patches=np.ascontiguousarray(x_BCDHW))["probabilities"])

    return lambda x_BCDHW: np.asarray(mean_of_views(run, x_BCDHW, mirrored, np.flip, np.concatenate), np.float32)
