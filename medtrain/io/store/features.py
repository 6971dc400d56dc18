"""Bags in memory-mapped files, found by their content; the form that training reads.

To open an HDF5 file for each bag and epoch costs more than the network does. Here a bag is read once, checked, and
packed after others. Bags that medtrain has made of slides lie in one piece in their files already: they are read and
checked once too, but then mapped where they are, so that no slide's features are kept twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.core.progress import Progress
from medtrain.io.bags import Bag, read_bag
from medtrain.io.content import first_with_same, of_features
from medtrain.io.stats import NO_FILE, absolute, stat_file, stat_files
from medtrain.io.store.files import mapped
from medtrain.io.store.fill import Codec, keep
from medtrain.io.store.index import FACTS, Place
from medtrain.io.store.segment import Segment
from medtrain.io.trident import own_arrays

VERSION = 5  # of keeping: raise it when the same file gives another bag or another identity
MOST_MAPS = 256  # files that a process holds open; each takes a handle


class PackedBags:
    """Bags by number, from memory maps that each process opens for itself.

    Attributes:
        lengths: (M,) instances of each; 0 for what is no bag.
        problems: {number: reason}.
        packed: how many files were read now.
    """

    def __init__(self, bags: Sequence[dict[str, Any] | None], problems: dict[int, str], packed: int = 0) -> None:
        self.problems, self.packed = problems, packed
        self.lengths = np.array([bag["x"][1][0] if bag else 0 for bag in bags], np.int64)
        self._bags = list(bags)  # facts as `FeatureCodec` writes them, None of problems
        self._maps: dict[Path, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._bags)

    @property
    def identities(self) -> list[str]:
        """Say what each bag is, by `medtrain.io.content`; '' of problems."""
        return ["" if facts is None else facts["identity"] for facts in self._bags]

    @property
    def content(self) -> NDArray[np.int64]:
        """Give (M,) the number of the first bag with the same features; problems are like no other."""
        return first_with_same(self.identities)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would be a copy of the data

    def shape(self, bag: int) -> tuple[int, ...]:
        """Give the shape of one instance: (D,), or (C, H, W) of tiles."""
        return tuple(self._facts(bag)["x"][1][1:])

    def instances(self, bag: int) -> NDArray[Any]:
        """Give (N, ...), a view of the file."""
        return self._array(bag, "x")

    def coords(self, bag: int) -> NDArray[np.float64] | None:
        """Give (N, 2), see `Bag`."""
        return self._array(bag, "coords").astype(np.float64, copy=False) if "coords" in self._facts(bag) else None

    def placed(self, bag: int) -> bool:
        """Tell whether it is known where a bag's tiles lie and how large they are, without reading them."""
        facts = self._facts(bag)
        return "coords" in facts and bool(facts["geometry"].get("tile"))

    def geometry(self, bag: int) -> dict[str, Any]:
        """See `Bag`."""
        return dict(self._facts(bag)["geometry"])

    def place(self, bag: int, geometry: Mapping[str, Any]) -> None:
        """Put what is known of a bag's tiles from elsewhere in the place of what it says itself."""
        facts = self._facts(bag)
        self._bags[bag] = facts | {"geometry": facts["geometry"] | dict(geometry)}

    def _facts(self, bag: int) -> dict[str, Any]:
        facts = self._bags[bag]
        if facts is None:
            raise KeyError(f"bag {bag}: {self.problems[bag]}")
        return facts

    def _array(self, bag: int, key: str) -> NDArray[Any]:
        facts = self._facts(bag)
        file, (start, shape, dtype) = facts["file"], facts[key]
        if file not in self._maps:
            if len(self._maps) >= MOST_MAPS:
                self._maps.clear()  # arrays that are in use hold theirs
            if "mtime" in facts and stat_file(file)[1] != facts["mtime"]:
                raise MedtrainError(f"{file} was changed or removed during the run; start again")
            self._maps[file] = mapped(file)
        stop = start + math.prod(shape) * np.dtype(dtype).itemsize
        return self._maps[file][start:stop].view(dtype).reshape(shape)


class FeatureCodec(Codec):
    """Bags of one way of reading files; one after the other, as HDF5 lets no two threads in.

    Args:
        root: of all caches.
        name: of the way: bags that another one makes of the same files are others.
        make: file -> bag; ValueError why it is none.
    """

    packages = ("medtrain", "h5py", "torch")

    def __init__(self, root: Path, name: str, make: Callable[[Path], Bag]) -> None:
        self.folder, self.make = root / "bags" / f"{name}_v{VERSION}", make

    def read(self, path: str, content: bytes, state: tuple[int, int]) -> tuple[dict[str, Any], Bag | None]:
        """Read and check a bag; returns its facts, and the bag if it has yet to be packed.

        Facts are its ``geometry`` and ``identity``, the ``file`` it lies in and the ``stop`` of what it takes there;
        of ``x`` and, if there are any, ``coords`` the first byte, shape and type; ``mtime`` of a file that is not the
        store's.
        """
        bag = self.make(Path(path))
        facts: dict[str, Any] = {"geometry": dict(bag.geometry), "identity": of_features(bag.x)}
        arrays = own_arrays(Path(path))
        if arrays is None:
            return facts, bag
        return facts | arrays | {"file": path, "stop": state[0], "mtime": state[1]}, None

    def write(self, segment: Segment, read: tuple[dict[str, Any], Bag | None]) -> Place:
        """Pack a bag, or only say where it is."""
        facts, bag = read
        arrays = {"x": bag.x, "coords": bag.coords} if bag is not None else {}
        for key, array in arrays.items():
            if array is not None:
                facts["file"], start = segment.add_array(array)
                facts[key] = start, array.shape, array.dtype.str
                facts["stop"] = start + array.nbytes
        return segment.add_text(FACTS, facts, facts["identity"])


def pack_bags(
    paths: Sequence[str],
    root: Path,
    progress: Progress | None = None,
    *,
    report: Callable[[str], None] = lambda text: None,
    read: Callable[[Path], Bag] = read_bag,
    name: str = "features",
    problems: Mapping[int, str] | None = None,
) -> PackedBags:
    """Open the bags of these files; what the store below `root` lacks is read and packed first.

    Args:
        progress: called with (done, total) files while they are read.
        read: file -> bag; ValueError why it is none.
        name: of the store: bags that another `read` makes of the same files are others.
        problems: files that are known to be no bags, by number, and why: nobody looks at them.

    Raises:
        MedtrainError: the store cannot be written, or nothing here can read such files.
    """
    files, known = absolute(paths), problems or {}
    states = stat_files(files)
    states[list(known), 0] = NO_FILE
    entries = keep(files, states, FeatureCodec(root, name, read), progress, 1, report)
    bags = entries.opened(lambda folder, facts: facts | {"file": folder / facts["file"]})
    return PackedBags(bags, entries.problems | dict(known), entries.looked_at)
