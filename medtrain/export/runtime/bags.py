"""Classes of bags: the features of each in HDF5 in, through the network bag by bag; a CSV out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.cells import cells_around
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.batches.bag_places import laid_out
from medtrain.data.rows.bags import BAG_NAMES, holds_features
from medtrain.data.rows.columns import USUAL
from medtrain.data.rows.people import match_patient
from medtrain.export.runtime.classes import one_by_one
from medtrain.export.runtime.columns import read_beside
from medtrain.export.runtime.inputs import Case, find_column, list_cases, patients_named, read_rows
from medtrain.export.runtime.started import Predict, Started, start
from medtrain.io.bags import HDF5, SUFFIXES, Bag, find_bag, read_hdf5_bag, settled_tile
from medtrain.io.csv_bags import CsvBags, read_csv_bags
from medtrain.io.picture_files import files_below
from medtrain.io.store.fill import reason_of


def main(network: Any, folder: Path, argv: Sequence[str] | None = None) -> int:
    """Predict bags; returns 0, 1 where any could not be read, 2 where nothing could be done."""
    try:
        started = start(network, folder, argv)
        table = read_csv_bags(started.input) if holds_features(started.input, {}) else None
        if table is not None:
            cases = [Case(name, name, str(number)) for number, name in enumerate(table.names)]
        else:
            cases = list_cases(started.input, started.facts["rows"], bags_below, bags_of_table)
        whole, members = of_patients(cases) if started.facts["input"].get("unit") == "patient" else of_bags(cases)
        beside = read_beside(started, whole)
    except MedtrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    facts = started.facts["input"]

    def read(number: int) -> Placed:
        if table is not None:
            return Placed(features_of(read_rows_of(table, number), facts["channels"]))
        path = Path(cases[number].path)
        bag = read_file(path)
        return placed(features_of(bag.x, facts["channels"]), bag, path, facts.get("tile_edge"))

    reach = facts.get("reach")
    if reach and not any_placed(range(len(cases)), read):
        print("error: none of these bags has coordinates with a size of tiles (data.tile_edge)", file=sys.stderr)
        return 2
    return one_by_one(
        started,
        whole,
        lambda number: arrays_of(together(members[number], read), reach) | beside.of([number]),
        lambda arrays: graph_for(started, len(arrays["features"]))(**arrays),
    )


@dataclass(frozen=True)
class Placed:
    """The instances of a bag, (N, D), with their coordinates (N, 2) and the side of a tile, where these are known."""

    x_ND: NDArray[np.float32]
    coords_N2: NDArray[np.float64] | None = None
    tile: float = 0.0


def placed(x_ND: NDArray[np.float32], bag: Bag, path: Path, edge: float | None) -> Placed:
    """Settle where the tiles of a bag lie.

    Args:
        edge: a tile's side that holds whatever the bag says.
    """
    if bag.coords is None:
        return Placed(x_ND)
    about = {**bag.geometry, **settled_tile(bag.coords, bag.geometry, path, edge)}
    return Placed(x_ND, bag.coords, float(about["tile"])) if about.get("tile") else Placed(x_ND)


def any_placed(numbers: Iterable[int], read: Callable[[int], Placed]) -> bool:
    """Tell whether it is known of any bag that can be read where its tiles lie; True where none can be read at all."""
    unreadable = True
    for number in numbers:
        with suppress(Exception):
            if read(number).coords_N2 is not None:
                return True
            unreadable = False
    return unreadable


def arrays_of(bags: Sequence[Placed], reach: int | None) -> dict[str, NDArray[Any]]:
    """Give what a graph takes of the bags of a case: their features, and of tiles that see others around them these."""
    arrays: dict[str, NDArray[Any]] = {"features": np.concatenate([bag.x_ND for bag in bags])}
    if reach:
        coords_N2 = laid_out((len(bag.x_ND), bag.coords_N2, bag.tile) for bag in bags)
        cells, around = cells_around(coords_N2, np.zeros(len(coords_N2), np.int64), reach, np)
        arrays |= {"cells": cells, "around": around}
    return arrays


def of_bags(cases: Sequence[Case]) -> tuple[list[Case], list[list[int]]]:
    """Take each bag as a case of its own."""
    return list(cases), [[number] for number in range(len(cases))]


def of_patients(cases: Sequence[Case]) -> tuple[list[Case], list[list[int]]]:
    """Put the bags of a patient together: a case each, in the order of their first, and the numbers of its bags."""
    members: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        members.setdefault(case.patient, []).append(number)
    return [replace(cases[of[0]], name=name, patient=name) for name, of in members.items()], list(members.values())


def together(numbers: Sequence[int], read: Callable[[int], Placed]) -> list[Placed]:
    """Read all bags of a case (ValueError where any is bad, with the reasons)."""
    bags, reasons = [], []
    for number in numbers:
        try:
            bags.append(read(number))
        except Exception as error:
            reasons.append(reason_of(error))
    if reasons:
        raise ValueError("; ".join(reasons))
    return bags


def graph_for(started: Started, length: int, usual: str = "model") -> Predict:
    """Choose the graph for a bag of so many instances: the first for small ones that it fits, else the usual one."""
    small = sorted(started.facts["input"]["graphs"].items(), key=lambda graph: int(graph[1]))
    return started.networks[next((name for name, most in small if length <= most), usual)]


def bags_below(folder: Path) -> list[Path]:
    """List the bags in a folder and below, sorted."""
    return sorted(file for file in files_below(folder) if file.suffix.lower() in SUFFIXES)


def bags_of_table(file: Path, facts: Mapping[str, Any]) -> list[Case]:
    """List the bags of a table, which may name slides whose bags bear their names (see `find_bag`).

    Raises:
        UsageError: it has no column of them.
    """
    columns, rows, places = read_rows(file)
    path = find_column(columns, facts["columns"].get("path"), BAG_NAMES)
    if path is None:
        raise UsageError(f"{file.name} has no column called {', '.join(BAG_NAMES[:4])} or the like: {columns}")
    case = find_column(columns, facts["columns"].get("case"), ()) or path
    of_patients = ["patient"] if path.lower() == "case_id" else ["patient", "case_id"]
    patient = find_column(columns, facts["columns"].get("patient"), of_patients)
    patient = patient or find_column(columns, None, USUAL["patient"])
    pattern, root = facts["patient_pattern"], file.absolute().parent
    named = patients_named([row[patient] for row in rows], facts) if patient else [None] * len(rows)
    cases = []
    for row, place, given in zip(rows, places, named, strict=True):
        bag = os.path.abspath(find_bag(root, row[path])) if row[path] else ""
        whose = match_patient(pattern, bag) if pattern else given
        cases.append(Case(row[case] or row[path], whose or bag, bag, row, place))
    return cases


def read_file(path: Path) -> Bag:
    """Read the bag of a file.

    Raises:
        ValueError: with a short reason.
    """
    if path.suffix.lower() in SUFFIXES[len(HDF5) :]:
        raise ValueError(f"{path.suffix} needs torch to be read; save the bag as HDF5")
    if path.suffix.lower() not in HDF5:
        raise ValueError("no bag: of a slide make one first, medtrain embed data.root=FOLDER encoder=...")
    return read_hdf5_bag(path)


def read_rows_of(table: CsvBags, number: int) -> NDArray[Any]:
    """Take the instances of a bag of a CSV (ValueError where some are no numbers)."""
    if number in table.problems:
        raise ValueError(table.problems[number])
    return table.instances(number)


def features_of(x_ND: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Make instances what the network takes (ValueError where they have another width)."""
    if x_ND.shape[1] != width:
        raise ValueError(f"has {x_ND.shape[1]:,} features, where the model takes {width:,} features")
    return x_ND.astype(np.float32)
