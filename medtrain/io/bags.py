"""Feature bags as people have them: HDF5 or .pt, one file a slide, as TRIDENT, CLAM and STAMP write them.

What differs is told apart by what is in the file, not by its name. TRIDENT: ``features`` (N, D) or (1, N, D) and
``coords`` (N, 2) in level-0 pixels, with attributes. CLAM: the same, often without the attributes, or a .pt file that
holds the tensor alone, its coordinates in an HDF5 file beside it. STAMP: ``feats``, ``coords`` in um (in units of
256 um / 224 px before its version 2), attributes on the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError

HDF5 = (".h5", ".hdf5")
SUFFIXES = (*HDF5, ".pt", ".pth")
FEATURES = ("features", "feats", "embeddings")
PLACES = ("", "h5_files", "pt_files")  # CLAM's folders below the one that people name
FLOATS = ("float16", "float32")
AT_40X = 10.0  # um/px times magnification


@dataclass(frozen=True)
class Bag:
    """The instances of one file.

    Args:
        x: (N, D) float16 or float32; of tiles (N, C, H, W) uint8.
        coords: (N, 2), x and y of each tile's upper left corner, in level-0 pixels; None where the file has none.
        geometry: what is known of the tiles: ``tile`` (side in the unit of `coords`), ``unit`` (px, or um where it is
            not pixels), ``width`` and ``height`` of level 0 in pixels, ``mpp`` of it in um/px.
    """

    x: NDArray[Any]
    coords: NDArray[np.float64] | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)


def find_bag(folder: Path, name: str) -> Path:
    """The file of a slide: `name` itself, or with a bag's ending for its own, in the folder or CLAM's below it.

    Returns:
        A path that need not be there, so that the message can name it.
    """
    given = folder / name
    if given.suffix.lower() in SUFFIXES:
        return given
    stems = dict.fromkeys((given.name, given.stem))  # slide.svs and slide, and a name with dots
    places = [given.parent / place for place in PLACES]
    tried = (place / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES for place in places)
    return next((path for path in tried if path.is_file()), given.parent / f"{given.name}{HDF5[0]}")


def read_bag(path: Path) -> Bag:
    """Read one bag, checked.

    Raises:
        ValueError: why it is no bag, in a few words.
        MedtrainError: HDF5 can't be read here.
    """
    try:
        bag = _read_hdf5(path) if path.suffix.lower() in HDF5 else _read_tensor(path)
    except OSError as error:
        raise ValueError(f"cannot be read ({str(error).splitlines()[0][:120]})") from None
    if not len(bag.x):
        raise ValueError("an empty bag: it has no instances")
    finite = np.isfinite(bag.x).all(axis=1)
    if not finite.all():
        raise ValueError(f"{int((~finite).sum())} of {len(bag.x)} instances hold NaN or infinite features")
    if bag.coords is not None and bag.coords.shape != (len(bag.x), 2):
        raise ValueError(f"coords {bag.coords.shape} don't fit {len(bag.x)} instances")
    return bag


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file for reading; MedtrainError where h5py is not installed, OSError where it is no such file."""
    try:
        import h5py
    except ImportError:
        raise MedtrainError(f"{path.name}: reading HDF5 bags needs h5py: pip install 'medtrain[slides]'") from None
    with h5py.File(path, "r") as file:
        yield file


def _read_hdf5(path: Path) -> Bag:
    with open_hdf5(path) as file:
        name = next((name for name in FEATURES if name in file), None)
        if name is None:
            raise ValueError(f"has no {' or '.join(FEATURES)}, but {', '.join(list(file)[:5]) or 'nothing'}")
        features = _two_dimensional(file[name][()])
        if "coords" not in file:
            return Bag(features)
        coords = np.asarray(file["coords"][()], np.float64)
        coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
        attributes = {**_plain(file.attrs), **_plain(file["coords"].attrs)}
    return Bag(features, *_placed(coords, attributes, stamp=name == "feats"))


def _read_tensor(path: Path) -> Bag:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged or foreign file torch raises anything
        raise ValueError(f"is no .pt file of a tensor ({str(error).splitlines()[0][:80]})") from None
    if isinstance(loaded, Mapping):
        found = next((loaded[name] for name in FEATURES if name in loaded), None)
        coords = loaded.get("coords")
    else:
        found, coords = loaded, None
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"holds no tensor of features, but {type(loaded).__name__}")
    features = _two_dimensional((found.float() if found.dtype == torch.bfloat16 else found).numpy())
    beside = path.parent.parent / "h5_files" / f"{path.stem}.h5"
    if coords is not None:
        return Bag(features, *_placed(np.asarray(coords, np.float64), {}))
    if path.parent.name == "pt_files" and beside.is_file():
        other = _read_hdf5(beside)
        if len(other.x) == len(features):
            return Bag(features, other.coords, other.geometry)
    return Bag(features)


def _two_dimensional(features: NDArray[Any]) -> NDArray[Any]:
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise ValueError(f"features {features.shape} of {features.dtype}; (instances, features) of numbers are wanted")
    return features if features.dtype.name in FLOATS else features.astype(np.float32)


def _placed(
    coords: NDArray[np.float64], attributes: Mapping[str, Any], stamp: bool = False
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Coordinates, and what the attributes of any of the three say of the tiles."""
    unit, tile = "px", attributes.get("patch_size_level0")
    if stamp and (attributes.get("unit") == "um" or "tile_size_um" in attributes):
        unit, tile = "um", attributes.get("tile_size_um") or attributes.get("tile_size")
    elif stamp:
        unit, tile, coords = "um", 256.0, coords / 224 * 256
    elif tile is None and "patch_size" in attributes:
        tile = float(attributes["patch_size"]) * float(np.ravel(attributes.get("downsample", 1.0))[0])
    if tile is None and coords.ndim == 2 and len(coords) > 1:
        steps = np.concatenate([np.diff(np.unique(axis)) for axis in coords.T])
        tile = steps.min() if len(steps) else None  # of a grid without gaps in between
    geometry = {"unit": unit, "tile": None if tile is None else float(tile)}
    for key in ("width", "height", "mpp"):
        if f"level0_{key}" in attributes:
            geometry[key] = float(attributes[f"level0_{key}"])
    if "mpp" not in geometry and attributes.get("level0_magnification", 0) > 0:
        geometry["mpp"] = AT_40X / float(attributes["level0_magnification"])
    return coords, geometry


def _plain(attributes: Any) -> dict[str, Any]:
    return {str(k): v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
