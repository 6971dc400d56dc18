"""Feature bags as people have them: HDF5 or .pt, one file a slide, as TRIDENT, CLAM and STAMP write them.

What differs is told apart by what is in the file, not by its name. TRIDENT: ``features`` (N, D) or (1, N, D) and
``coords`` (N, 2) in level-0 pixels, with attributes. CLAM: the same, often without the attributes, or a .pt file that
holds the tensor alone, its coordinates in an HDF5 file beside it. STAMP: ``feats``, ``coords`` in um (in units of
256 um / 224 px before its version 2), attributes on the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.core.extras import extra
from medtrain.io.bag_grid import clam_size, patch_files, tile_step
from medtrain.io.files import why_not_regular
from medtrain.io.slide_names import slide_stems

HDF5 = (".h5", ".hdf5")
SUFFIXES = (*HDF5, ".pt", ".pth")
FEATURES = ("features", "feats", "embeddings")
PLACES = ("", "h5_files", "pt_files")  # CLAM's folders below the one that people name
FLOATS = ("float16", "float32")
SMALL = 1 << 26  # bytes that may be declared whatever is held: a fill value is no attack
MOST_PACKED = 100  # compression of features comes to 2, of tiles of empty glass to 50
AT_40X = 10.0  # um/px times magnification
STEPS = "steps"


@dataclass(frozen=True)
class Bag:
    """The instances of one file.

    Args:
        x: (N, D) float16 or float32; of tiles (N, C, H, W) uint8.
        coords: (N, 2), x and y of each tile's upper left corner, in level-0 pixels; None where the file has none.
        geometry: what is known of the tiles: ``tile`` (side in the unit of `coords`), ``unit`` (px, or um where it is
            not pixels), ``tile_from``, which is ``steps`` where only the distances between tiles say it, ``width`` and
            ``height`` of level 0 in pixels, ``mpp`` of it in um/px.
    """

    x: NDArray[Any]
    coords: NDArray[np.float64] | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)


def find_bag(folder: Path, name: str) -> Path:
    """Find the file of a slide: `name` itself, or with a bag's ending for its own, in the folder or CLAM's below it.

    Only what slides' files end in is taken off a name: `S.2` is no other name of `S`.

    Returns:
        A path that need not be there, so that the message can name it.
    """
    given = folder / name
    if given.suffix.lower() in SUFFIXES:
        return given
    stems = dict.fromkeys((given.name, *slide_stems(given.name)))
    places = [given.parent / place for place in PLACES]
    tried = (place / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES for place in places)
    return next((path for path in tried if path.is_file()), given.parent / f"{given.name}{HDF5[0]}")


def read_bag(path: Path) -> Bag:
    """Read one bag, checked.

    Raises:
        ValueError: why it is no bag, in a few words.
        UsageError: HDF5 can't be read here.
    """
    return _checked(path, _read_hdf5 if path.suffix.lower() in HDF5 else _read_tensor)


def read_hdf5_bag(path: Path) -> Bag:
    """Read one bag of HDF5, checked as `read_bag` does, where there is no torch."""
    return _checked(path, _read_hdf5)


def _checked(path: Path, read: Callable[[Path], Bag]) -> Bag:
    try:
        if reason := why_not_regular(path):
            raise ValueError(reason)
        bag = read(path)
    except (ValueError, MedtrainError):
        raise
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except MemoryError:
        raise ValueError("more than this machine's memory holds") from None
    except Exception as error:  # of a damaged file h5py raises anything, from KeyError to RuntimeError
        reason = str(error.args[0] if error.args else error).partition("\n")[0]
        raise ValueError(f"cannot be read ({reason[:120] or type(error).__name__})") from None
    if not len(bag.x):
        raise ValueError("an empty bag: it has no instances")
    finite = np.isfinite(bag.x).all(axis=1)
    if not finite.all():
        raise ValueError(f"{int((~finite).sum())} of {len(bag.x)} instances hold NaN or infinite features")
    if bag.coords is not None and bag.coords.shape != (len(bag.x), 2):
        raise ValueError(f"coords {bag.coords.shape} don't fit {len(bag.x)} instances")
    if bag.coords is not None and not (placed := np.isfinite(bag.coords).all(1)).all():
        raise ValueError(f"coords of {int((~placed).sum())} of {len(bag.x)} instances are NaN or infinite")
    return bag


def settled_tile(
    coords: NDArray[np.float64], geometry: Mapping[str, Any], file: Path, edge: float | None
) -> dict[str, Any]:
    """Say what else than a bag itself settles the size of its tiles: a given edge, or CLAM's file of patches; {} for
    nothing, where it says it itself, or the steps between tiles do.

    Args:
        geometry: of the bag.
        file: the bag's.
        edge: in the unit of the coordinates; it holds whatever the bag says.
    """
    if edge is not None:
        return {"tile": float(edge), "tile_from": "given"}
    recorded = geometry["tile"] is not None and geometry.get("tile_from") != STEPS
    known = {} if recorded else read_patches(file, coords)
    return known | {"tile_from": "patches"} if known else {}


def read_patches(bag: Path, coords: NDArray[np.float64]) -> dict[str, Any]:
    """Read what CLAM's file of patches says of a bag's tiles, a geometry as of `Bag`; nothing where there is no such
    file, it doesn't say it, or it is of other tiles."""
    for file in patch_files(bag):
        if not file.is_file() or file == bag:
            continue
        try:
            known, about = _read_coords(file)
        except (ValueError, OSError, RuntimeError, KeyError):
            continue
        listed = {tuple(corner) for corner in known.tolist()} if known.ndim == 2 else set()
        if about.get("tile_from") != STEPS and about["tile"] and listed.issuperset(map(tuple, coords.tolist())):
            return about
    return {}


def _read_coords(path: Path) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Read coordinates and geometry of a file that has no features."""
    with extra("h5py", f"{path.name}: reading an HDF5 bag").File(path, "r") as file:
        coords = np.asarray(dataset(file, "coords")[()], np.float64)
        return _placed(coords, {**_plain(file.attrs), **_plain(file["coords"].attrs)})


def dataset(file: Any, name: str) -> Any:
    """Open a dataset of an HDF5 file whose numbers lie in that file, all of those that it declares.

    A file can declare a thousand times what it holds, or links to what lies elsewhere on this machine.

    Raises:
        ValueError: it is none, with the reason.
    """
    link = file.get(name, getlink=True)
    if link is not None and type(link).__name__ == "ExternalLink":
        raise ValueError(f"{name} is a link to another file ({link.filename}), not data")
    try:
        opened = file[name]
    except (KeyError, RuntimeError, OSError):
        raise ValueError(f"{name} is a link that leads nowhere") from None
    if not hasattr(opened, "dtype"):
        raise ValueError(f"{name} is a group, not data")
    if not hasattr(opened, "nbytes"):
        raise ValueError(f"{name} is a type, not data")
    if opened.file.filename != file.filename or opened.external or opened.is_virtual:
        raise ValueError(f"{name} lies in another file, not in this one")
    if opened.dtype.kind not in "fiu" or opened.shape is None:
        raise ValueError(f"{name} {opened.shape} of {opened.dtype}; numbers are wanted")
    _refuse_hollow(name, opened.shape, opened.nbytes, opened.id.get_storage_size())
    wanted, written = _chunks(opened)
    if written < wanted:
        raise ValueError(
            f"{name} {opened.shape}: {wanted - written} of its {wanted} pieces were never written: cut off"
        )
    return opened


def _chunks(opened: Any) -> tuple[int, int]:
    """Count the pieces in which a dataset is stored, and those that are in the file; HDF5 makes up what lacks."""
    if opened.size == 0:
        return 0, 0
    if opened.chunks is None:
        return 1, int(opened.id.get_storage_size() > 0)
    wanted = math.prod(math.ceil(side / piece) for side, piece in zip(opened.shape, opened.chunks, strict=True))
    return wanted, opened.id.get_num_chunks()


def _refuse_hollow(name: str, shape: Sequence[int], declared: int, held: int) -> None:
    """Refuse what declares far more than compression explains, before memory is taken for it."""
    if declared > SMALL and declared > MOST_PACKED * held:
        raise ValueError(
            f"{name} declares {tuple(shape)}, {declared / 1e9:,.1f} GB, and holds {held / 1e6:,.3f} MB of it: damaged"
        )


def _read_hdf5(path: Path) -> Bag:
    with extra("h5py", f"{path.name}: reading an HDF5 bag").File(path, "r") as file:
        name = next((name for name in FEATURES if file.get(name, getlink=True) is not None), None)
        if name is None:
            raise ValueError(f"has no {' or '.join(FEATURES)}, but {', '.join(list(file)[:5]) or 'nothing'}")
        features = _two_dimensional(dataset(file, name))
        if file.get("coords", getlink=True) is None:
            return Bag(features)
        coords = np.asarray(dataset(file, "coords")[()], np.float64)
        coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
        attributes = {**_plain(file.attrs), **_plain(file["coords"].attrs)}
    return Bag(features, *_placed(coords, attributes, stamp=name == "feats"))


def _read_tensor(path: Path) -> Bag:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged or foreign file torch raises anything
        raise ValueError(f"is no .pt file of a tensor ({str(error).splitlines()[0][:80]})") from None
    if isinstance(loaded, Mapping):
        tensor = next((loaded[name] for name in FEATURES if name in loaded), None)
        coords = loaded.get("coords")
    else:
        tensor, coords = loaded, None
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(f"holds no tensor of features, but {type(loaded).__name__}")
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise ValueError("a sparse or quantized tensor; save features as a plain one")
    _refuse_hollow("the tensor", tensor.shape, tensor.nbytes, tensor.untyped_storage().nbytes())
    features = _two_dimensional((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy())
    beside = path.parent.parent / "h5_files" / f"{path.stem}.h5"
    if coords is not None:
        return Bag(features, *_placed(np.asarray(coords, np.float64), {}))
    if path.parent.name == "pt_files" and beside.is_file():
        other = _read_hdf5(beside)
        if len(other.x) == len(features):
            return Bag(features, other.coords, other.geometry)
    return Bag(features)


def _two_dimensional(stored: Any) -> NDArray[Any]:
    """Read the features, (N, D), of an array or a dataset, whose shape is looked at first."""
    if stored.size == 0:
        raise ValueError(f"an empty bag: it has no instances (features {tuple(stored.shape)})")
    if stored.ndim == 1 and stored.dtype.kind in "fiu":  # a slide's own vector: a bag of one instance
        return np.asarray(stored[()], None if stored.dtype.name in FLOATS else np.float32)[None]
    squeezed = stored.ndim == 3 and stored.shape[0] == 1
    if stored.ndim - squeezed != 2 or stored.dtype.kind not in "fiu":
        raise ValueError(f"features {stored.shape} of {stored.dtype}; (instances, features) of numbers are wanted")
    features: NDArray[Any] = stored[0] if squeezed else stored[()]
    return features if features.dtype.name in FLOATS else features.astype(np.float32)


def _placed(
    coords: NDArray[np.float64], attributes: Mapping[str, Any], stamp: bool = False
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Coordinates, and what the attributes of any of the three say of the tiles."""
    unit, tile = "px", _number(attributes, "patch_size_level0")
    if stamp and (str(attributes.get("unit")) == "um" or "tile_size_um" in attributes):
        unit, tile = "um", _number(attributes, "tile_size_um") or _number(attributes, "tile_size")
    elif stamp:
        unit, tile, coords = "um", 256.0, coords / 224 * 256
    elif tile is None and (side := _number(attributes, "patch_size")) is not None:
        tile = side * (_number(attributes, "downsample") or 1.0)
    if tile is not None and tile <= 0:
        raise ValueError(f"says that its tiles are {tile:g} {unit} wide")
    geometry = {"unit": unit, "tile": tile}
    if tile is None and coords.ndim == 2 and (step := tile_step(coords)) is not None:
        geometry |= {"tile": step, "tile_from": STEPS}
    attributes = {**clam_size(attributes), **attributes}
    for key in ("width", "height", "mpp"):
        if (value := _number(attributes, f"level0_{key}")) is not None:
            geometry[key] = value
    if "mpp" not in geometry and (power := _number(attributes, "level0_magnification") or 0) > 0:
        geometry["mpp"] = AT_40X / power
    return coords, geometry


def _number(attributes: Mapping[str, Any], key: str) -> float | None:
    """Read an attribute that has to be a number, alone or as the first of a list; None where it is not there.

    Raises:
        ValueError: it is something else.
    """
    if key not in attributes:
        return None
    value = np.ravel(attributes[key])
    try:
        number = float(value[0])
    except (ValueError, TypeError, IndexError):
        raise ValueError(f"its attribute {key} is no number: {str(attributes[key])[:40]}") from None
    if not np.isfinite(number):
        raise ValueError(f"its attribute {key} is {number}")
    return number


def _plain(attributes: Any) -> dict[str, Any]:
    return {str(k): v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
