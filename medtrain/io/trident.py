"""Feature bags on disk as TRIDENT writes them: one HDF5 file a slide, with ``features``, ``coords`` and attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.extras import extra
from medtrain.io.bags import FLOATS, HDF5, dataset
from medtrain.io.files import atomic_path, why_not_regular

OWN = "medtrain"  # the attribute of the file that says how medtrain made the bag


def hdf5() -> Any:
    """Import the module h5py; UsageError where it is not installed."""
    return extra("h5py", "a feature bag in HDF5")


def write_trident(
    path: str | os.PathLike[str],
    features_ND: NDArray[np.float16],
    coords_N2: NDArray[np.int64],
    attributes: Mapping[str, Any],
    encoder: str,
    own: Mapping[str, Any],
) -> None:
    """Write one bag, whole or not at all.

    Args:
        features_ND: a row a tile.
        coords_N2: x and y of each tile's upper left corner, in pixels of level 0.
        attributes: of ``coords``, with TRIDENT's names: patch_size, patch_size_level0, level0_magnification, ...
        encoder: what the features are of.
        own: what `read_own` gives back; plain values.
    """
    with atomic_path(path) as temporary, hdf5().File(temporary, "w", locking=False) as file:  # locked already
        features = file.create_dataset("features", data=features_ND)
        features.attrs["encoder"] = encoder
        coords = file.create_dataset("coords", data=coords_N2)
        for target in (features, coords):
            target.attrs["name"] = attributes["name"]
        coords.attrs.update(attributes)
        file.attrs[OWN] = json.dumps(dict(own))


def read_own(path: Path) -> dict[str, Any] | None:
    """Read how medtrain made a bag; None of a bag that somebody else made, or that cannot be read."""
    try:
        if why_not_regular(path):
            return None
        with hdf5().File(path, "r") as file:
            return dict(json.loads(file.attrs[OWN]))
    except (OSError, KeyError, ValueError, TypeError, RecursionError):
        return None


def own_arrays(path: Path) -> dict[str, tuple[int, tuple[int, ...], str]] | None:
    """Say where ``x`` and ``coords`` of a bag that medtrain made lie in its file: first byte, shape, type.

    Returns:
        None of a bag that somebody else made, or that does not lie in one piece.
    """
    if path.suffix.lower() not in HDF5:
        return None
    with hdf5().File(path, "r") as file:
        if OWN not in file.attrs:
            return None
        arrays = {key: dataset(file, name) for key, name in (("x", "features"), ("coords", "coords"))}
        starts = {key: array.id.get_offset() for key, array in arrays.items()}
        if None in starts.values() or arrays["x"].ndim != 2 or arrays["x"].dtype.name not in FLOATS:
            return None
        return {key: (starts[key], array.shape, array.dtype.str) for key, array in arrays.items()}
